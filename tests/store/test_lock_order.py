"""Everybody locks in one order (ARCHITECTURE.md), so that no two transactions ever wait for each other.

Each story is two real transactions. A third holds a row that both come by, until each has gone as far as it can.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from remediator.domain.alert import Alert
from remediator.domain.ids import EpisodeId, IncidentId, SourceName
from remediator.domain.incident import Move, PageOrder, Phase, Progress, Status
from remediator.domain.notification import Notification, NotificationKind
from remediator.domain.oncall import Contact
from remediator.domain.opening import Opening
from remediator.domain.reconciliation import Absence, Repairs
from remediator.store import escalations, incidents, moves, outbox, reconciliation
from remediator.store.database import Connection, Database
from remediator.store.moves import Decided
from remediator.store.outbox import SentAlready
from tests.store.facts import LEASE, alert, count, file, opening, resolved, until_they_wait

MAIL = (Contact("email", "a@example.invalid"),)

Party: TypeAlias = Callable[[], Awaitable[object]]


async def meet(database: Database, gate: str, *parties: Party) -> Sequence[object]:
    """What came of each: one after the other they go on until they wait for a row that is held, then all are let go."""
    tasks: list[asyncio.Future[object]] = []
    async with database.transaction() as tx:
        assert await tx.fetch(gate)
        for party in parties:
            tasks.append(asyncio.ensure_future(party()))
            await until_they_wait(tx, *tasks)
    return await asyncio.gather(*tasks, return_exceptions=True)


async def meet_and_file_again(database: Database, gate: str, *parties: Party) -> Sequence[object]:
    """As whoever is told to file once more does, after the others."""
    came_of_it = await meet(database, gate, *parties)
    for party, each in zip(parties, came_of_it, strict=True):
        if isinstance(each, BaseException):
            await party()
    return came_of_it


def failures(came_of_it: Sequence[object]) -> list[BaseException]:
    return [each for each in came_of_it if isinstance(each, BaseException)]


def of(run_key: str, fingerprint: str) -> Alert:
    return alert(fingerprint, labels={"alertname": "ServiceDown", "run": run_key})


def opens(told: Alert) -> Opening:
    return opening(told.labels["run"])


async def three_incidents(database: Database) -> None:
    """i1, i2 and i3, each of one alert: f1, f2 and f3."""
    for number in range(1, 4):
        await file(database, of(f"i{number}", f"f{number}"), opens=opens)


async def episodes_of(database: Database, *fingerprints: str) -> list[EpisodeId]:
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT id, fingerprint FROM episodes WHERE closed_at IS NULL")
    numbers = {row["fingerprint"]: EpisodeId(row["id"]) for row in rows}
    return [numbers[fingerprint] for fingerprint in fingerprints]


async def firing(database: Database) -> list[str]:
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT fingerprint FROM episodes WHERE closed_at IS NULL ORDER BY fingerprint")
    return [row["fingerprint"] for row in rows]


def absent(numbers: Sequence[EpisodeId]) -> dict[EpisodeId, Absence]:
    return {number: Absence(1, datetime.now(UTC)) for number in numbers}


async def as_polled(
    database: Database, absences: Sequence[EpisodeId], suppressions: Sequence[EpisodeId], *, by: str = "silence s-1"
) -> None:
    async with database.transaction() as tx:
        repairs = Repairs(absences=absent(absences), suppressions=dict.fromkeys(suppressions, by), listed=(*absences,))
        await reconciliation.keep(tx, SourceName("am"), repairs)


async def in_transaction(database: Database, work: Callable[[Connection], Awaitable[object]]) -> object:
    async with database.transaction() as tx:
        return await work(tx)


async def test_batches_that_end_alerts_and_join_others_to_the_same_incidents(database: Database) -> None:
    await three_incidents(database)

    came_of_it = await meet(
        database,
        "SELECT FROM incidents WHERE run_key = 'i1' FOR NO KEY UPDATE",
        lambda: file(database, resolved("f3"), of("i1", "g1"), of("i2", "g2"), opens=opens),
        lambda: file(database, resolved("f2"), of("i1", "h1"), of("i3", "h3"), opens=opens),
    )

    assert failures(came_of_it) == []


async def test_a_batch_that_opens_incidents_and_one_that_joins_what_a_third_has_opened(database: Database) -> None:
    async def open_in_haste() -> None:
        await file(database, of("i3", "g3"), opens=opens)
        await file(database, of("i1", "h1"), of("i3", "h3"), opens=opens)

    came_of_it = await meet(
        database,
        """INSERT INTO incidents (rule, rule_version, run_key, title, severity, mode, alert)
           VALUES ('service-down', 'v1', 'i2', '', 'sev1', 'act', '{}') RETURNING id""",
        lambda: file(database, of("i1", "f1"), of("i2", "f2"), of("i3", "f3"), opens=opens),
        open_in_haste,
    )

    assert failures(came_of_it) == []
    assert await count(database, "incidents") == 3


async def test_a_batch_that_joins_an_incident_and_another_that_is_resolved_meanwhile(database: Database) -> None:
    """The second is opened anew once the first is let go."""
    await three_incidents(database)

    came_of_it = await meet(
        database,
        "UPDATE incidents SET status = 'resolved' WHERE run_key = 'i2' RETURNING id",
        lambda: file(database, of("i1", "g1"), of("i2", "g2"), opens=opens),
    )

    assert failures(came_of_it) == []
    assert await count(database, "incidents WHERE run_key = 'i2'") == 2
    assert await count(database, "episodes WHERE fingerprint LIKE 'g%' AND incident_id IS NOT NULL") == 2


async def test_a_batch_that_holds_an_incident_opens_no_other_but_is_filed_once_more(database: Database) -> None:
    """An end must be of the same transaction: to open another now could be to wait for somebody who waits for us."""
    await three_incidents(database)
    told = of("i1", "g1"), of("i2", "g2"), resolved("f3")

    [failure] = await meet(
        database,
        "UPDATE incidents SET status = 'resolved' WHERE run_key = 'i2' RETURNING id",
        lambda: file(database, *told, opens=opens),
    )
    await file(database, *told, opens=opens)

    assert "an incident was resolved while an alert joined it" in str(failure)
    assert await count(database, "incidents WHERE run_key = 'i2'") == 2


async def test_a_batch_that_refreshes_alerts_and_joins_others_and_one_in_which_they_end(database: Database) -> None:
    """One finds an alert ended that it was to tell of: it is filed once more, at once."""
    await three_incidents(database)
    async with database.transaction() as tx:
        await tx.execute("UPDATE episodes SET last_seen_at = last_seen_at - interval '1 hour'")
    ended = resolved("f1"), resolved("f3")
    told = of("i3", "f3"), of("i1", "g1")

    came_of_it = await meet_and_file_again(
        database,
        "SELECT FROM incidents WHERE run_key = 'i1' FOR NO KEY UPDATE",
        lambda: file(database, *ended),
        lambda: file(database, *told, opens=opens),
    )

    assert all("an alert ended while it was filed" in str(failure) for failure in failures(came_of_it))
    assert await firing(database) == ["f2", "f3", "g1"], "f3 has begun anew"


async def test_a_batch_of_alerts_and_a_batch_of_moves(database: Database) -> None:
    await three_incidents(database)
    async with database.transaction() as tx:
        claimed = await incidents.claim(tx, owner="tests", lease=LEASE, limit=3)
    decided = [Decided(incident, Move(Phase.DIAGNOSED, Progress())) for incident in claimed]

    came_of_it = await meet(
        database,
        "SELECT FROM incidents WHERE run_key = 'i2' FOR NO KEY UPDATE",
        lambda: in_transaction(database, lambda tx: moves.commit(tx, decided, lease=LEASE)),
        lambda: file(database, resolved("f3"), of("i1", "g1"), opens=opens),
    )

    assert failures(came_of_it) == []


async def test_batches_in_which_alerts_end_and_others_begin_again(database: Database) -> None:
    """One finds an alert ended that it was to tell of: it is filed once more, at once."""
    await file(database, *map(alert, ("f1", "f2", "f3")), opens=lambda _: None)
    later = datetime.now(UTC) + timedelta(seconds=5)

    came_of_it = await meet_and_file_again(
        database,
        "SELECT FROM episodes WHERE fingerprint = 'f1' FOR UPDATE",
        lambda: file(database, alert("f3", starts_at=later), resolved("f1"), resolved("f2"), opens=lambda _: None),
        lambda: file(database, alert("f2", starts_at=later), resolved("f1"), resolved("f3"), opens=lambda _: None),
    )

    assert all("an alert ended while it was filed" in str(failure) for failure in failures(came_of_it))
    assert await firing(database) == ["f2", "f3"], "as each began later than it ended"


async def test_an_alert_that_joins_an_incident_and_its_end_that_another_replica_heard_of(database: Database) -> None:
    """A third replica has opened the alert's episode since the first looked."""
    await three_incidents(database)

    async def the_end() -> None:
        async with database.transaction() as tx:
            await tx.execute(
                """INSERT INTO episodes (source, fingerprint, incident_id, labels, starts_at)
                   SELECT 'am', 'g1', id, '{}', now() - interval '1 s' FROM incidents WHERE run_key = 'i1'"""
            )
        await file(database, resolved("g1"))

    came_of_it = await meet(
        database,
        "SELECT FROM incidents WHERE run_key = 'i1' FOR NO KEY UPDATE",
        lambda: file(database, of("i1", "g1"), opens=opens),
        the_end,
    )

    assert failures(came_of_it) == []


async def test_a_poll_that_misses_alerts_and_a_batch_in_which_they_end(database: Database) -> None:
    for fingerprint in ("f3", "f2", "f1"):
        await file(database, alert(fingerprint), opens=lambda _: None)
    missed = await episodes_of(database, "f1", "f2", "f3")

    came_of_it = await meet(
        database,
        "SELECT FROM episodes WHERE fingerprint = 'f2' FOR UPDATE",
        lambda: file(database, *map(resolved, ("f1", "f2", "f3"))),
        lambda: as_polled(database, missed, ()),
    )

    assert failures(came_of_it) == []


async def test_a_poll_that_misses_some_alerts_and_finds_others_silenced(database: Database) -> None:
    await file(database, *map(alert, ("f1", "f2", "f3")), opens=lambda _: None)
    first, second, third = await episodes_of(database, "f1", "f2", "f3")

    came_of_it = await meet(
        database,
        "SELECT FROM episodes WHERE fingerprint = 'f1' FOR UPDATE",
        lambda: as_polled(database, [third], [first, second]),
        lambda: file(database, resolved("f2"), resolved("f3")),
    )

    assert failures(came_of_it) == []


async def test_a_poll_that_finds_a_silence_lifted_and_the_end_of_its_alert(database: Database) -> None:
    await three_incidents(database)
    [lifted] = await episodes_of(database, "f1")

    came_of_it = await meet(
        database,
        "SELECT FROM incidents WHERE run_key = 'i1' FOR NO KEY UPDATE",
        lambda: file(database, resolved("f1")),
        lambda: as_polled(database, [], [lifted], by=""),
    )

    assert failures(came_of_it) == []


async def test_pages_from_memory_are_written_down_while_alerts_join_their_incidents(database: Database) -> None:
    await three_incidents(database)
    async with database.connection() as connection:
        numbers = [row["id"] for row in await connection.fetch("SELECT id FROM incidents ORDER BY id DESC")]
    pages = [
        SentAlready(
            Notification(number, NotificationKind.PAGE, f"{number}", "alice", "", "", "", "sev1", ""), MAIL, timedelta()
        )
        for number in numbers
    ]

    came_of_it = await meet(
        database,
        "SELECT FROM incidents WHERE run_key = 'i1' FOR NO KEY UPDATE",
        lambda: file(database, of("i1", "g1"), of("i2", "g2"), of("i3", "g3"), opens=opens),
        lambda: in_transaction(database, lambda tx: outbox.record_sent(tx, pages)),
    )

    assert failures(came_of_it) == []
    assert await count(database, "outbox") == len(pages)


async def test_what_forgets_a_source_that_nobody_polls_and_the_end_of_its_alert(database: Database) -> None:
    await three_incidents(database)
    await as_polled(database, [], await episodes_of(database, "f1"))

    came_of_it = await meet(
        database,
        "SELECT FROM incidents WHERE run_key = 'i1' FOR NO KEY UPDATE",
        lambda: file(database, resolved("f1")),
        lambda: in_transaction(database, lambda tx: reconciliation.forget(tx, SourceName("am"))),
    )

    assert failures(came_of_it) == []


async def an_expired_acknowledgement(database: Database) -> IncidentId:
    await file(database, alert())
    async with database.transaction() as tx:
        number = IncidentId(await tx.fetchval("SELECT id FROM incidents"))
        await incidents.acknowledge(tx, number, by="alice")
        await tx.execute("UPDATE escalations SET due_at = now()")
    return number


async def test_an_acknowledgement_that_runs_out_while_a_person_resolves_the_incident(database: Database) -> None:
    number = await an_expired_acknowledgement(database)

    came_of_it = await meet(
        database,
        "SELECT FROM incidents FOR NO KEY UPDATE",
        lambda: in_transaction(database, lambda tx: incidents.resolve(tx, number, by="alice", note="")),
        lambda: in_transaction(database, lambda tx: escalations.claim_due(tx, limit=10)),
    )

    assert failures(came_of_it) == []


async def test_an_acknowledgement_that_runs_out_while_the_incident_is_moved(database: Database) -> None:
    await an_expired_acknowledgement(database)
    async with database.transaction() as tx:
        [incident] = await incidents.claim(tx, owner="tests", lease=LEASE, limit=1)
    over = Move(Phase.CLOSED, Progress(), status=Status.RESOLVED, pages=PageOrder.STOP)

    came_of_it = await meet(
        database,
        "SELECT FROM incidents FOR NO KEY UPDATE",
        lambda: in_transaction(database, lambda tx: moves.commit(tx, [Decided(incident, over)], lease=LEASE)),
        lambda: in_transaction(database, lambda tx: escalations.claim_due(tx, limit=10)),
    )

    assert failures(came_of_it) == []
