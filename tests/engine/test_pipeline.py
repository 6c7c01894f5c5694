"""What ends an incident, and what does not."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from remediator.checks import Sign
from remediator.domain.errors import NotFound
from remediator.domain.ids import IntentId
from remediator.domain.incident import Attempt, AttemptResult, Incident, PageOrder, PendingUndo, Phase, Progress, Status
from remediator.engine import verify
from remediator.engine.desk import Desk
from remediator.engine.pipeline import UNDO_FIRST, next_move
from remediator.rules.rule import Verify
from remediator.store.database import Database
from tests.engine.working import NOBODY, always
from tests.store.facts import claimed

NOW = datetime.now(UTC)
CHECKED: Any = type("Checked", (), {"verify": Verify()})
NOT_PROVEN = Progress(attempts=(Attempt(0, AttemptResult.INEFFECTIVE),))
ENDED = {"firing": False, "recovered": True}


def desk_with(**changes: Any) -> Desk:
    desk = {"tools": NOBODY, "read_rule": always(CHECKED), "read_ledger": NOBODY, "read_intent": NOBODY}
    ways = {"read_stand_in": NOBODY, "global_guards": NOBODY, "recheck": timedelta(seconds=15)}
    return Desk(clock=lambda: NOW, **{**desk, **ways, **changes})


@pytest.fixture
def health(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What each look finds, one after another."""
    found: list[bool] = []

    async def look(*_: object) -> dict[str, Sign]:
        return {"verify.checks[0]": Sign(healthy=found.pop(0), detail="0 of 3 ready")}

    monkeypatch.setattr(verify, "_look", look)
    return found


@pytest.mark.parametrize("phase", [Phase.OPENED, Phase.DIAGNOSED, Phase.PROPOSED, Phase.HANDED_OVER])
async def test_where_a_fix_was_not_proven_the_end_of_the_alert_is_no_proof(
    database: Database, health: list[bool], phase: Phase
) -> None:
    health += [False, False, True]
    incident = replace(await claimed(database), phase=phase, progress=NOT_PROVEN, **ENDED)

    first = await next_move(incident, desk_with())
    still = await next_move(replace(incident, phase=first.phase, progress=first.progress), desk_with())
    last = await next_move(replace(incident, phase=still.phase, progress=still.progress), desk_with())

    assert (first.phase, first.status, first.wake_in) == (Phase.HANDED_OVER, None, verify.LOOK_EVERY)
    assert first.pages is (PageOrder.KEEP if phase is Phase.HANDED_OVER else PageOrder.NOW)
    assert (still.phase, still.status, still.entries) == (Phase.HANDED_OVER, None, ()), "what is known is told once"
    assert (last.phase, last.status, last.pages) == (Phase.CLOSED, Status.RESOLVED, PageOrder.STOP)


async def test_whoever_has_acknowledged_it_hears_that_it_ended_as_ever(database: Database) -> None:
    incident = replace(await claimed(database), phase=Phase.HANDED_OVER, progress=NOT_PROVEN, **ENDED)

    move = await next_move(replace(incident, acknowledged_by="alice"), desk_with())

    assert move.status is Status.RESOLVED


async def test_its_leased_fix_is_taken_back_before_it_is_looked_at(database: Database) -> None:
    owed = replace(NOT_PROVEN, undo=PendingUndo(IntentId("i"), NOW - timedelta(minutes=1)))
    incident = replace(await claimed(database), phase=Phase.OPENED, progress=owed, **ENDED)

    move = await next_move(incident, desk_with())

    assert (move.phase, move.entries[0].message) == (Phase.HANDED_OVER, f"handed over to people: {UNDO_FIRST}")


@pytest.mark.parametrize("phase", [Phase.OPENED, Phase.DIAGNOSED, Phase.PROPOSED, Phase.HANDED_OVER])
async def test_an_alert_that_ends_ends_its_incident_though_its_rule_can_no_longer_be_read(
    database: Database, phase: Phase
) -> None:
    """A plug-in that the rule names is gone since an upgrade."""

    async def gone(_: Incident) -> Any:
        raise NotFound("this release has no action my_own_action")

    incident = replace(await claimed(database), phase=phase, **ENDED)

    move = await next_move(incident, desk_with(read_rule=gone))

    assert move.status is Status.RESOLVED
