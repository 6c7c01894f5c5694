"""What an approval of a plan covers, and that the journal changes nothing of it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from remediator.domain.plan import Call, Plan
from remediator.domain.target import Target
from remediator.store.database import Database, to_json
from remediator.store.documents import from_json

PATCH = [{"op": "test", "path": "/metadata/uid", "value": "u"}, {"op": "replace", "path": "/spec/replicas", "value": 5}]
PLAN = Plan(
    action="scale",
    target=Target("deployment", "backend", "prod"),
    summary="scale",
    calls=(Call("kubernetes", "PATCH", "/scale", {"longer": "1", "b": "2"}, PATCH),),
    precondition="still three",
    pre_image={"replicas": 3, "uid": "u", "share": 1.0, "names": ["ü", 'a"b']},
    post_image={"replicas": 5},
    undo_after=timedelta(minutes=45),
)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(PLAN, action="restart"), id="action"),
        pytest.param(replace(PLAN, target=Target("deployment", "web", "prod")), id="target"),
        pytest.param(replace(PLAN, calls=()), id="calls"),
        pytest.param(replace(PLAN, pre_image={**PLAN.pre_image, "replicas": 4}), id="what was there"),
        pytest.param(replace(PLAN, post_image={"replicas": 6}), id="what will be there"),
        pytest.param(replace(PLAN, undo_after=None), id="for good instead of for a while"),
        pytest.param(replace(PLAN, undo_after=timedelta(hours=8)), id="for longer"),
        pytest.param(replace(PLAN, needs_approval="no ready pod would be left"), id="worse than was known"),
    ],
)
def test_an_approval_is_for_what_is_done_to_what_and_for_how_long(other: Plan) -> None:
    assert other.digest != PLAN.digest


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(PLAN, summary="in other words"), id="words"),
        pytest.param(replace(PLAN, health=(2, 3)), id="how many are ready at the moment"),
        pytest.param(replace(PLAN, parameters={"pods": ["a", "b"]}), id="parameters that came to the same calls"),
        pytest.param(
            replace(PLAN, calls=(replace(PLAN.calls[0], as_of={"/metadata/generation": 8}),)), id="how new it must be"
        ),
    ],
)
def test_an_approval_is_not_for_what_changes_nothing(other: Plan) -> None:
    assert other.digest == PLAN.digest


def test_how_new_it_must_be_is_asked_of_the_write_itself() -> None:
    test = {"op": "test", "path": "/metadata/generation", "value": 8}

    assert replace(PLAN.calls[0], as_of={"/metadata/generation": 8}).payload == [test, *PATCH]


async def test_the_journal_gives_back_the_plan_that_was_approved(database: Database) -> None:
    """jsonb keeps short keys first and numbers as it likes."""
    async with database.connection() as connection:
        text = await connection.fetchval("SELECT $1::text::jsonb::text", to_json(PLAN))

    assert from_json(text, Plan).digest == PLAN.digest
