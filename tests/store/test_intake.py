"""What a delivery leaves behind, once its transaction has committed."""

import asyncio

from remediator.domain.alert import Delivery, Rejected
from remediator.domain.episode import Filing
from remediator.domain.ids import SourceName
from remediator.store import incidents, intake
from remediator.store.database import Database
from tests.store.facts import alert, claimed, count, file, opening, resolved


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


async def test_an_alert_never_joins_an_incident_that_is_resolved_at_that_moment(database: Database) -> None:
    incident = await claimed(database)
    async with database.transaction() as tx:
        await incidents.resolve(tx, incident.id, by="alice", note="")
        joining = asyncio.create_task(file(database, alert("f2")))
        while not await tx.fetchval("SELECT count(*) FROM pg_locks, pg_sleep(0.01) WHERE NOT granted"):
            assert not joining.done()
    await joining

    assert await count(database, "episodes e JOIN incidents i ON i.id = incident_id WHERE i.status = 'triggered'") == 1


async def test_a_fire_and_its_end_in_one_batch_leave_a_closed_episode(database: Database) -> None:
    filings = await file(database, alert(), resolved())

    assert filings == {Filing.OPEN: 1, Filing.CLOSE: 1}
    assert await count(database, "episodes WHERE closed_at IS NULL") == 0


async def test_an_alert_without_a_rule_is_kept_as_an_episode_alone(database: Database) -> None:
    await file(database, alert(), opens=lambda _: None)

    assert (await count(database, "episodes"), await count(database, "incidents")) == (1, 0)


async def test_hostile_text_is_stored_not_refused(database: Database) -> None:
    await file(database, alert(labels={"alertname": "x\x00y\ud800z", "q": "'; DROP TABLE incidents; --"}))

    assert await count(database, "incidents") == 1


async def test_what_could_not_be_read_is_kept_aside(database: Database) -> None:
    rejected = Rejected(1, "labels: no", b"\x00\xff")
    async with database.transaction() as tx:
        await intake.file_deliveries(
            tx, [Delivery(SourceName("am"), b"{}", (alert(),), (rejected,))], lambda _: opening()
        )

    assert (await count(database, "quarantine"), await count(database, "episodes")) == (1, 1)


async def test_replicas_that_file_the_same_storm_at_once_open_each_incident_once(database: Database) -> None:
    storm = [alert(f"f{number}") for number in range(200)]

    await asyncio.gather(
        *(file(database, *order, opens=lambda a: opening(a.fingerprint)) for order in (storm, storm[::-1], storm))
    )

    assert (await count(database, "episodes"), await count(database, "incidents")) == (200, 200)
