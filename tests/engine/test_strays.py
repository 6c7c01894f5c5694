"""An alert that fires has an incident as soon as a rule wants it, and again where it outlives the one it had."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from remediator.domain.alert import Alert
from remediator.domain.errors import Outdated, Temporary
from remediator.domain.mode import Mode
from remediator.domain.opening import Opening
from remediator.engine.bell import Bell
from remediator.engine.strays import REOPENED_AFTER, Strays
from remediator.metrics import Metrics
from remediator.rules.loader import load_rules
from remediator.rules.rulebook import Rulebook
from remediator.store import episodes, incidents, timeline
from remediator.store import strays as stored
from remediator.store.database import Connection, Database
from remediator.store.strays import Stray
from tests.store.facts import alert, count, file, resolved
from tests.system.rules import write_rules

ANNOTATED = {"summary": "it is down"}
CLOSED = "UPDATE incidents SET status = 'resolved', phase = 'closed', resolved_at = now() - interval '{}'"
CLOSED_LONG_AGO = CLOSED.format("31 min")


@pytest.fixture
def rulebook(tmp_path: Path) -> Rulebook:
    return load_rules(write_rules(tmp_path / "rules")).rulebook


def looking(database: Database, rulebook: Callable[[], Rulebook]) -> Strays:
    return Strays(database, rulebook, Mode.ACT, (Bell(),), Metrics())


def down(
    fingerprint: str = "f1",
    deployment: str = "backend",
    name: str = "ServiceDown",
    *,
    since: timedelta = timedelta(hours=1),
) -> Alert:
    labels = {"alertname": name, "namespace": "prod", "deployment": deployment}
    return alert(fingerprint, labels=labels, annotations=ANNOTATED, starts_at=datetime.now(UTC) - since)


async def told_before_their_rule(database: Database, *alerts: Alert) -> None:
    await file(database, *alerts, opens=lambda _: None)


async def execute(database: Database, sql: str) -> None:
    async with database.transaction() as tx:
        await tx.execute(sql)


async def messages(database: Database, number: int) -> list[str]:
    async with database.connection() as connection:
        incident = (await incidents.list_incidents(connection))[number].id
        return [entry.message for entry in await timeline.of_incident(connection, incident)]


async def test_an_alert_that_was_there_before_its_rule_has_an_incident_when_the_rule_comes(
    database: Database, rulebook: Rulebook
) -> None:
    await told_before_their_rule(database, down("f1"), down("f2"), down("f3", "feed"), down("f4", name="Other"))

    assert await looking(database, lambda: rulebook).look() == 3

    async with database.connection() as connection:
        found = await incidents.list_incidents(connection)
        due = await connection.fetchval("SELECT count(*) FROM escalations WHERE due_at IS NOT NULL")
    assert sorted(str(incident.target) for incident in found) == ["deployment/prod/backend", "deployment/prod/feed"]
    assert ([incident.firing for incident in found], due) == ([True, True], 2)
    assert any(line.endswith("its rule came later") for line in await messages(database, 0))


async def test_one_that_nothing_can_be_opened_for_keeps_no_other_waiting(
    database: Database, rulebook: Rulebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = Rulebook.opening

    def failing(self: Rulebook, told: Alert, *, ceiling: Mode) -> Opening | None:
        if told.fingerprint == "f1":
            raise ZeroDivisionError
        return opening(self, told, ceiling=ceiling)

    monkeypatch.setattr(Rulebook, "opening", failing)
    await told_before_their_rule(database, down("f1"), down("f2", "feed"))

    assert await looking(database, lambda: rulebook).look() == 1


async def test_each_set_of_rules_is_tried_twice_and_no_more(
    database: Database, rulebook: Rulebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was filed by the old rules while the first look was on its way is found by the second."""
    in_force, looks = rulebook, 0

    def unwanted(tx: Connection) -> AsyncIterator[Stray]:
        nonlocal looks
        looks += 1
        return look(tx)

    look = stored.unwanted
    monkeypatch.setattr(stored, "unwanted", unwanted)
    strays = looking(database, lambda: in_force)
    for _ in range(4):
        await strays.look()
    first, in_force = looks, load_rules(write_rules(tmp_path / "other")).rulebook
    for _ in range(4):
        await strays.look()

    assert (first, looks) == (2, 4)


def adoption_fails(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> None:
    """So often, each time in its own way."""
    adopt, to_come = stored.adopt, list(errors)

    async def adopted(*arguments: Any) -> None:
        if to_come:
            raise to_come.pop(0)
        await adopt(*arguments)

    monkeypatch.setattr(stored, "adopt", adopted)


async def test_what_could_not_be_adopted_is_tried_again_however_often_that_was(
    database: Database, rulebook: Rulebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another replica may be at work on one of a hundred, at both looks: the others are nobody's still."""
    adoption_fails(
        monkeypatch,
        Outdated("somebody does"),
        Outdated("somebody does"),
        Temporary("gone", system="database", operation="adopt"),
    )
    await told_before_their_rule(database, down("f1"), down("f2", "feed"))
    strays = looking(database, lambda: rulebook)

    given_up = [await strays.look(), await strays.look()]
    with pytest.raises(Temporary):
        await strays.look()

    assert given_up == [0, 0]
    assert await strays.look() == 2


async def test_a_bug_in_some_of_them_keeps_no_others_waiting(
    database: Database, rulebook: Rulebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    adoption_fails(monkeypatch, ZeroDivisionError())
    await told_before_their_rule(database, *(down(f"f{number}", f"d{number}") for number in range(150)))
    strays = looking(database, lambda: rulebook)

    assert [await strays.look(), await strays.look()] == [50, 100]


async def test_an_alert_that_is_told_again_long_after_its_incident_was_closed_has_another(
    database: Database, rulebook: Rulebook
) -> None:
    await file(database, down(), opens=lambda told: rulebook.opening(told, ceiling=Mode.ACT))
    await execute(database, CLOSED_LONG_AGO)
    strays = looking(database, lambda: rulebook)

    assert await strays.look() == 1
    assert await strays.look() == 0

    async with database.connection() as connection:
        latest, closed = await incidents.list_incidents(connection)
    assert (latest.status, latest.alert.annotations, closed.firing) == ("triggered", ANNOTATED, False)
    assert f"it fires on more than 30m after incident {closed.id} was closed" in await messages(database, 0)
    assert f"goes on in incident {latest.id}: ServiceDown" in await messages(database, 1)


@pytest.mark.parametrize(
    "since",
    [
        "UPDATE episodes SET last_seen_at = now() - interval '20 min'",
        "UPDATE incidents SET resolved_at = now() - interval '29 min'",
        "UPDATE episodes SET closed_at = now()",
        "UPDATE incidents SET status = 'acknowledged'",
    ],
    ids=["not told again since", "closed a moment ago", "it has ended", "not closed at all"],
)
async def test_nothing_is_opened_anew_for_what_need_not_be(database: Database, rulebook: Rulebook, since: str) -> None:
    await file(database, down(), opens=lambda told: rulebook.opening(told, ceiling=Mode.ACT))
    await execute(database, f"{CLOSED_LONG_AGO}; {since}")

    assert await looking(database, lambda: rulebook).look() == 0
    assert await count(database, "incidents") == 1


@pytest.mark.parametrize(
    ("began", "tells", "opened"),
    [
        pytest.param(60, 1, 1, id="it began anew after the close"),
        pytest.param(60, 6, 0, id="it began anew before the close"),
        pytest.param(60, 60, 0, id="the same firing is told again"),
        pytest.param(-7, -7, 0, id="the same, by a clock that is ahead"),
        pytest.param(-7, -9, 0, id="it began anew before the close, by a clock that is ahead"),
        pytest.param(-7, -16, 1, id="it began anew after the close, by a clock that is ahead"),
    ],
)
async def test_what_begins_anew_after_its_incident_was_closed_has_another_at_once(
    database: Database, rulebook: Rulebook, began: int, tells: int, opened: int
) -> None:
    """Its end was never told. Minutes before now, by the sender's clock: its alert was told ten minutes ago, and the
    incident closed five minutes ago."""

    async def told(since: int) -> None:
        firing = down(since=timedelta(minutes=since))
        await file(database, firing, opens=lambda told: rulebook.opening(told, ceiling=Mode.ACT))

    await told(began)
    await execute(database, CLOSED.format("5 min"))
    await execute(database, "UPDATE incidents SET opened_at = now() - interval '10 min'")
    await execute(database, "UPDATE episodes SET last_seen_at = now() - interval '6 min'")
    await told(tells)

    async with database.connection() as connection:
        found = await stored.outliving(connection, by=REOPENED_AFTER)
    assert [stray.began_anew for stray in found] == [True] * opened
    assert await looking(database, lambda: rulebook).look() == opened


async def test_a_start_that_was_told_before_the_close_opens_nothing(database: Database, rulebook: Rulebook) -> None:
    """Whatever it says: the proof came after it."""
    await file(database, down(), opens=lambda told: rulebook.opening(told, ceiling=Mode.ACT))
    await file(database, down(since=timedelta(minutes=-3)))
    await execute(database, CLOSED.format("1 min"))
    await execute(database, "UPDATE episodes SET last_seen_at = now() - interval '2 min'")

    assert await looking(database, lambda: rulebook).look() == 0


async def test_replicas_that_look_at_once_open_one(database: Database, rulebook: Rulebook) -> None:
    await told_before_their_rule(database, *(down(f"f{number}", f"d{number}") for number in range(150)))

    adopted = await asyncio.gather(*(looking(database, lambda: rulebook).look() for _ in range(3)))
    last = await looking(database, lambda: rulebook).look()

    assert sum(adopted) + last == 150
    assert await count(database, "incidents") == await count(database, "escalations") == 150


async def test_an_end_that_comes_at_the_same_moment_closes_what_was_opened(
    database: Database, rulebook: Rulebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look and the write of the end; else nobody would wake the incident."""
    await told_before_their_rule(database, down())
    look_up, end = episodes.look_up, resolved("f1", labels=down().labels)

    async def then_adopted(*arguments: Any) -> object:
        known = await look_up(*arguments)
        await looking(database, lambda: rulebook).look()
        return known

    monkeypatch.setattr(episodes, "look_up", then_adopted)
    with pytest.raises(Temporary, match="given to an incident"):
        await file(database, end)
    monkeypatch.undo()
    await file(database, end)

    async with database.connection() as connection:
        [incident] = await incidents.list_incidents(connection)
    assert (incident.firing, incident.nudges) == (False, 1)
