"""What a delivery leaves behind, once its transaction has committed."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import pytest

from remediator.domain.alert import Alert, Delivery, Rejected
from remediator.domain.episode import Filing
from remediator.domain.filing import Familiar
from remediator.domain.ids import IncidentId, SourceName
from remediator.domain.incident import Phase
from remediator.domain.opening import Opening
from remediator.store import filing, incidents, timeline
from remediator.store.database import Database
from tests.fakes.watched import watched_database
from tests.store.facts import alert, claimed, count, file, opening, resolved, until_they_wait


async def test_an_alert_told_again_is_the_same_episode_and_the_same_incident(database: Database) -> None:
    first = await file(database, alert())
    again = await file(database, alert(), alert())

    assert (first, again) == ({Filing.OPEN: 1}, {Filing.REFRESH: 2})
    assert (await count(database, "episodes"), await count(database, "incidents")) == (1, 1)


async def test_the_first_page_is_due_from_the_very_same_commit(database: Database) -> None:
    await file(database, alert())

    async with database.connection() as connection:
        row = await connection.fetchrow(
            """SELECT extract(epoch FROM s.due_at - i.opened_at) AS wait
               FROM escalations s JOIN incidents i ON i.id = s.incident_id"""
        )
    assert row is not None
    assert row["wait"] == 120


async def test_a_resolve_ends_the_episode_and_wakes_the_incident(database: Database) -> None:
    before = await claimed(database)
    filings = await file(database, resolved())

    async with database.connection() as connection:
        after = await incidents.get(connection, before.id)
    assert filings == {Filing.CLOSE: 1}
    assert (before.firing, after.firing, after.nudges) == (True, False, before.nudges + 1)


async def test_another_alert_with_the_same_run_key_joins_the_open_incident(database: Database) -> None:
    await file(database, alert("f1"))
    await file(database, alert("f2"), alert("f3"))

    assert (await count(database, "episodes"), await count(database, "incidents")) == (3, 1)


@pytest.mark.parametrize("also", [(), (resolved("f9"),)], ids=["all of them fire", "one ends"])
async def test_the_timeline_says_how_many_alerts_came_at_once(database: Database, also: tuple[Alert, ...]) -> None:
    """In one line, however many they are; those that were known are none of them."""
    await file(database, alert("f1"), alert("f2"), *also)
    await file(database, alert("f1"), alert("f2"), alert("f3"), alert("f4"), alert("f5"), *also)

    async with database.connection() as connection:
        told = [entry.message for entry in await timeline.of_incident(connection, IncidentId(1))]
    assert told == [
        "ServiceDown fires (am): instance='f1' (and 1 more of its alerts)",
        "ServiceDown fires (am): instance='f3' (and 2 more of its alerts)",
    ]


@pytest.mark.parametrize(
    ("phase", "told", "wakes"),
    [
        (Phase.HANDED_OVER, partial(alert, "f2"), False),
        (Phase.FIXED, partial(alert, "f2"), False),
        (Phase.OPENED, partial(alert, "f2"), True),
        (Phase.HANDED_OVER, partial(resolved, "f1"), True),
    ],
    ids=["joins what people have", "joins what is verified", "joins what is held for a silence", "ends"],
)
async def test_an_incident_is_woken_where_an_alert_gives_it_something_to_do(
    database: Database, phase: Phase, told: Callable[[], Alert], *, wakes: bool
) -> None:
    """Resolved it may not be in any case: it is not what it was."""
    await file(database, alert("f1"))
    async with database.transaction() as tx:
        await tx.execute("UPDATE incidents SET phase = $1, wake_at = now() + interval '1 hour'", phase)

    await file(database, told())

    assert await count(database, "incidents WHERE wake_at <= now()") == wakes
    assert await count(database, "incidents WHERE nudges = 1") == 1


async def test_the_first_alert_of_a_batch_is_known_and_the_next_joins_its_incident_all_the_same(
    database: Database,
) -> None:
    await file(database, alert("f1"))

    assert await file(database, alert("f1"), alert("f2")) == {Filing.REFRESH: 1, Filing.OPEN: 1}

    assert await count(database, "episodes WHERE incident_id = 1") == 2
    assert await count(database, "timeline WHERE message LIKE 'ServiceDown fires%'") == 2


async def test_an_alert_never_joins_an_incident_that_is_resolved_at_that_moment(database: Database) -> None:
    incident = await claimed(database)
    async with database.transaction() as tx:
        await incidents.resolve(tx, incident.id, by="alice", note="")
        joining = asyncio.create_task(file(database, alert("f2")))
        await until_they_wait(tx, joining)
        assert not joining.done()
    await joining

    assert await count(database, "episodes e JOIN incidents i ON i.id = incident_id WHERE i.status = 'triggered'") == 1


async def test_a_firing_that_meets_another_replicas_news_of_an_earlier_one_is_not_closed_by_that_ones_end(
    database: Database,
) -> None:
    now = datetime.now(UTC)
    async with database.transaction() as tx:
        await tx.execute(
            """INSERT INTO episodes (source, fingerprint, labels, starts_at)
               VALUES ('am', 'f1', '{}', now() - interval '1 min')"""
        )
        telling = asyncio.create_task(file(database, alert("f1", starts_at=now), opens=lambda _: None))
        await until_they_wait(tx, telling)
        assert not telling.done()
    await telling

    late_end = await file(database, msgspec.structs.replace(resolved("f1"), ends_at=now - timedelta(seconds=30)))

    assert late_end == {Filing.STALE: 1}


async def test_a_fire_and_its_end_in_one_batch_leave_a_closed_episode(database: Database) -> None:
    filings = await file(database, alert(), resolved())

    assert filings == {Filing.OPEN: 1, Filing.CLOSE: 1}
    assert await count(database, "episodes WHERE closed_at IS NULL") == 0


@pytest.mark.parametrize("ends", ["f1", "f2"], ids=["the same alert", "another alert"])
async def test_a_batch_that_tells_of_a_restart_and_of_an_end_loses_neither(database: Database, ends: str) -> None:
    await file(database, alert("f1"), alert("f2"))
    later = datetime.now(UTC) + timedelta(seconds=1)
    over = msgspec.structs.replace(resolved(ends), ends_at=later)

    filings = await file(database, alert("f1", starts_at=later), over)

    assert filings == {Filing.REFRESH: 1, Filing.CLOSE: 1}
    assert await count(database, f"episodes WHERE closed_at IS NOT NULL AND fingerprint = '{ends}'") == 1


async def test_an_alert_without_a_rule_is_kept_as_an_episode_alone(database: Database) -> None:
    await file(database, alert(), opens=lambda _: None)

    assert (await count(database, "episodes"), await count(database, "incidents")) == (1, 0)


async def test_hostile_text_is_stored_not_refused(database: Database) -> None:
    await file(database, alert(labels={"alertname": "x\x00y\ud800z", "q": "'; DROP TABLE incidents; --"}))

    assert await count(database, "incidents") == 1


async def test_what_could_not_be_read_is_kept_aside(database: Database) -> None:
    rejected = Rejected(1, "labels: no", b"\x00\xff")
    sent = Delivery(SourceName("am"), b"{}", (alert(),), (rejected,))
    async with database.connection() as connection:
        await filing.file(connection, [sent], sent.alerts, lambda _: opening(), Familiar())

    assert (await count(database, "quarantine"), await count(database, "episodes")) == (1, 1)


@dataclass
class Heard:
    """The statements that were sent."""

    statements: list[str] = field(default_factory=list)

    async def note(
        self, _connection: Any, _method: str, sql: str, _arguments: Any, go_on: Callable[[], Awaitable[Any]]
    ) -> Any:
        self.statements.append(sql)
        return await go_on()


async def test_what_opens_no_incident_is_one_statement_with_its_body(database_address: str) -> None:
    heard = Heard()
    async with watched_database(database_address, heard.note) as database:
        familiar, told = Familiar(), (alert("f1"), alert("f2"))
        for _ in range(2):
            result = await _tell(database, familiar, *told, *told, opens=None)
        statements = len(heard.statements)
        kept = (await count(database, "episodes"), await count(database, "deliveries"))

    assert (statements, kept, result.filings) == (2, (2, 2), {Filing.REFRESH: 4})


async def test_what_goes_on_firing_is_looked_for_by_its_number_in_one_statement(database_address: str) -> None:
    """Whoever has heard of it once knows its number."""
    heard = Heard()
    async with watched_database(database_address, heard.note) as database:
        familiar, told = Familiar(), (alert("f1"), alert("f2"))
        for _ in range(2):
            await _tell(database, familiar, *told, opens=opening())
        async with database.transaction() as tx:
            await tx.execute("UPDATE episodes SET last_seen_at = last_seen_at - interval '1 hour'")
        heard.statements.clear()
        result = await _tell(database, familiar, *told, opens=opening())
        [statement] = heard.statements
        refreshed = await count(database, "episodes WHERE last_seen_at > now() - interval '1 minute'")
        bodies = await count(database, "deliveries")

    assert ("fingerprint" in statement, result.filings) == (False, {Filing.REFRESH: 2})
    assert (refreshed, bodies) == (2, 3)


async def test_what_ended_behind_our_back_is_told_from_what_goes_on_beside_it(database: Database) -> None:
    familiar, told = Familiar(), (alert("f1"), alert("f2"))
    for _ in range(2):
        await _tell(database, familiar, *told, opens=opening())
    await file(database, resolved("f2"))

    result = await _tell(database, familiar, *told, opens=opening())
    again = await _tell(database, familiar, *told, opens=opening())

    assert result.filings == again.filings == {Filing.REFRESH: 1, Filing.STALE: 1}
    assert await count(database, "episodes WHERE closed_at IS NULL") == 1
    assert await count(database, "deliveries") == 5, "each body is kept once"


async def test_what_opens_an_incident_or_joins_one_is_one_statement(database_address: str) -> None:
    heard = Heard()
    async with watched_database(database_address, heard.note) as database:
        familiar = Familiar()
        results = [await _tell(database, familiar, alert(name), opens=opening()) for name in ("f1", "f2", "f3")]
        statements = len(heard.statements)
        told = await count(database, "timeline WHERE message LIKE 'ServiceDown fires%'")

    assert [(result.opened, result.incidents) for result in results] == [(1, 1), (0, 1), (0, 1)]
    assert (statements, told) == (3, 3)


async def test_an_incident_that_was_resolved_behind_our_back_is_opened_anew(database: Database) -> None:
    """We still take it for open, and bring nothing that another would be made of."""
    familiar = Familiar()
    await _tell(database, familiar, alert("f1"), opens=opening())
    async with database.transaction() as tx:
        await tx.execute("UPDATE incidents SET status = 'resolved'")

    result = await _tell(database, familiar, alert("f2"), opens=opening())

    assert (result.filings, result.opened, result.incidents) == ({Filing.OPEN: 1}, 1, 1)
    assert await count(database, "incidents i JOIN episodes e ON i.id = incident_id WHERE status = 'triggered'") == 1


async def test_an_alert_of_an_open_incident_is_recognised_when_it_is_told_again(database: Database) -> None:
    familiar = Familiar()
    first = await _tell(database, familiar, alert(), opens=opening())
    async with database.transaction() as tx:
        await tx.execute("UPDATE episodes SET last_seen_at = last_seen_at - interval '1 hour'")
    again = await _tell(database, familiar, alert(), opens=opening())

    assert (first.incidents, again.incidents, again.filings) == (1, 0, {Filing.REFRESH: 1})
    assert await count(database, "episodes WHERE last_seen_at > now() - interval '1 minute'") == 1
    assert await count(database, "deliveries") == 2


async def test_an_alert_that_ended_behind_our_back_opens_its_incident_all_the_same(database: Database) -> None:
    """We still take it for one that is told again: a wrong guess costs a statement, and nothing else."""
    familiar = Familiar()
    await _tell(database, familiar, alert(), opens=opening("first"))
    await file(database, resolved())

    fires_anew = alert(starts_at=datetime.now(UTC) + timedelta(seconds=1))
    result = await _tell(database, familiar, fires_anew, opens=opening("second"))

    assert (result.filings, result.incidents) == ({Filing.OPEN: 1}, 1)
    assert (await count(database, "incidents"), await count(database, "deliveries")) == (2, 3)


async def test_an_alert_without_a_rule_that_fires_anew_is_another_episode(database: Database) -> None:
    await file(database, alert(), opens=lambda _: None)
    await file(database, resolved())

    result = await _tell(database, Familiar(), alert(starts_at=datetime.now(UTC) + timedelta(seconds=1)), opens=None)

    assert (result.filings, await count(database, "episodes")) == ({Filing.OPEN: 1}, 2)


async def test_a_late_firing_of_an_alert_without_a_rule_opens_nothing_that_is_over(database: Database) -> None:
    fired = alert()
    await file(database, fired, opens=lambda _: None)
    await file(database, resolved())

    result = await _tell(database, Familiar(), fired, opens=None)

    assert (result.filings, await count(database, "episodes")) == ({Filing.STALE: 1}, 1)


async def test_of_an_alert_told_twice_in_a_batch_the_later_start_counts(database: Database) -> None:
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=5)
    await _tell(database, Familiar(), alert(), alert(starts_at=later), opens=None)

    async with database.connection() as connection:
        assert await connection.fetchval("SELECT starts_at FROM episodes") == later


async def _tell(database: Database, familiar: Familiar, *alerts: Alert, opens: Opening | None) -> filing.FilingResult:
    """As the intake files one delivery."""
    async with database.connection() as connection:
        sent = [Delivery(SourceName("am"), b"{}", alerts)]
        return await filing.file(connection, sent, alerts, lambda _: opens, familiar)


@pytest.mark.parametrize("is_ruled", [True, False])
async def test_replicas_that_file_the_same_storm_at_once_open_everything_once(
    database: Database, *, is_ruled: bool
) -> None:
    def opens(told: Alert) -> Opening | None:
        return opening(told.fingerprint) if is_ruled else None

    storm = [alert(f"f{number}") for number in range(200)]

    await asyncio.gather(*(file(database, *order, opens=opens) for order in (storm, storm[::-1], storm)))

    assert (await count(database, "episodes"), await count(database, "incidents")) == (200, 200 * is_ruled)


@pytest.mark.parametrize("beside", [(), (resolved("unknown"),)], ids=["one statement", "a transaction"])
async def test_an_alert_that_another_replica_files_without_a_rule_at_this_moment_is_its_incidents(
    database: Database, beside: Sequence[Alert]
) -> None:
    """Its rules are older. Else the incident has no alert, and is over at once."""
    async with database.transaction() as theirs:
        await filing.file(theirs, [], [alert()], lambda _: None, Familiar())
        waiting = asyncio.create_task(file(database, alert(), *beside))
        await until_they_wait(theirs, waiting)
        assert not waiting.done()
    await waiting

    async with database.connection() as connection:
        [incident] = await incidents.list_incidents(connection)
    assert incident.firing


async def test_an_alert_that_two_replicas_file_by_different_rules_stays_with_the_first(database: Database) -> None:
    async with database.transaction() as theirs:
        await filing.file(theirs, [], [alert()], lambda _: opening("theirs"), Familiar())
        waiting = asyncio.create_task(file(database, alert(), opens=lambda _: opening("ours")))
        await until_they_wait(theirs, waiting)
        assert not waiting.done()
    await waiting

    async with database.connection() as connection:
        ours, first = await incidents.list_incidents(connection)
    assert (first.firing, ours.firing) == (True, False)
