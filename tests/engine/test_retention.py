"""What is past its time goes; what is open, unsent or without a result stays, whatever its age."""
# ruff: noqa: S608  # the tests' own tables and values

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from remediator.domain.timeline import EntryKind
from remediator.engine.retention import Retention
from remediator.metrics import Metrics
from remediator.store import partitions, retention, rounds
from remediator.store.database import Database
from remediator.store.retention import Keep
from tests.store.facts import alert, claimed, count, file, opening, resolved

KEEP = Keep(raw=timedelta(days=90), decisions=timedelta(days=400), diagnostics=timedelta(days=30))
OF_AN_INCIDENT = ("episodes", "timeline", "escalations", "outbox", "intents", "reservations")


def clearing(database: Database, keep: Keep = KEEP, *, in_force: tuple[str, ...] = ()) -> Retention:
    """Due at every look."""
    rulebook: Any = SimpleNamespace(rules=[SimpleNamespace(version=v, name="r", document={}) for v in in_force])
    return Retention(database, lambda: rulebook, keep, timedelta(), Metrics(), pause=timedelta())


async def execute(database: Database, sql: str) -> None:
    async with database.transaction() as tx:
        await tx.execute(sql)


async def age(database: Database, days: int) -> None:
    """As if everything had happened so long ago."""
    back = f"- interval '{days} days'"
    await execute(
        database,
        f"""UPDATE incidents SET opened_at = opened_at {back}, resolved_at = resolved_at {back};
            UPDATE episodes SET opened_at = opened_at {back}, closed_at = closed_at {back};
            UPDATE outbox SET created_at = created_at {back};
            UPDATE intents SET begun_at = begun_at {back};
            UPDATE reservations SET at = at {back};
            UPDATE rule_versions SET seen_at = seen_at {back}""",
    )


async def over_and_done_with(database: Database) -> None:
    """One incident that was fixed and paged, with everything that hangs on it, and is over."""
    incident = await claimed(database)
    await execute(
        database,
        f"""INSERT INTO timeline (incident_id, kind, message, data)
                VALUES ({incident.id}, 'finding', 'seen', '{{"a": 1}}');
            INSERT INTO intents (id, incident_id, path, plan, timeout, epoch, state)
                VALUES ('00000000-0000-4000-8000-000000000001', {incident.id}, 'fix[0]', '{{}}', '15 s', 1, 'done');
            INSERT INTO reservations (key, intent_id, units)
                VALUES ('cooldown', '00000000-0000-4000-8000-000000000001', 1);
            INSERT INTO outbox (incident_id, dedup_key, kind, recipient, reach, notification, state, due_at)
                VALUES ({incident.id}, 'k', 'page', 'alice', '[]', '{{}}', 'sent', NULL);
            UPDATE incidents SET progress = '{{"findings": {{"pods": {{"ok": true, "summary": "1 failing",
                "facts": {{"names": ["a"]}}}}}}, "holds": 2}}'""",
    )
    await file(database, resolved())
    await execute(
        database,
        """UPDATE incidents SET status = 'resolved', phase = 'closed', resolved_at = now(), wake_at = NULL,
               lease_until = NULL""",
    )


async def left(database: Database) -> dict[str, int]:
    return {table: await count(database, table) for table in ("incidents", *OF_AN_INCIDENT)}


async def test_a_budget_goes_with_the_last_that_was_spent_from_it(database: Database) -> None:
    """There is one for each target that was ever changed."""
    await over_and_done_with(database)
    await age(database, 36)
    await execute(
        database,
        """INSERT INTO budgets VALUES ('cooldown'), ('cooldown/1h'), ('blast_radius'), ('blast_radius/1h');
           INSERT INTO reservations (key, intent_id, units) SELECT 'blast_radius/1h', id, 1 FROM intents""",
    )

    await clearing(database).look()

    assert await count(database, "budgets WHERE key LIKE 'blast_radius%'") == await count(database, "budgets") == 2


async def test_an_incident_past_its_time_takes_everything_under_it_along(database: Database) -> None:
    await over_and_done_with(database)
    before = await left(database)
    await age(database, 401)

    assert await clearing(database).look()

    assert all(before.values())
    assert not any((await left(database)).values())


async def test_a_deleted_incident_takes_its_timeline_along_whoever_deletes_it(database: Database) -> None:
    await over_and_done_with(database)

    await execute(database, "DELETE FROM episodes; DELETE FROM incidents")

    assert await count(database, "timeline") == 0


async def test_a_young_incident_keeps_everything(database: Database) -> None:
    await over_and_done_with(database)
    before = await left(database)
    await age(database, 29)

    await clearing(database).look()

    assert await left(database) == before


@pytest.mark.parametrize(
    "what",
    [
        pytest.param("UPDATE incidents SET status = 'triggered'", id="it is open"),
        pytest.param("UPDATE incidents SET wake_at = now()", id="a leased fix is still to be taken back"),
        pytest.param("UPDATE incidents SET lease_until = now() + interval '1 minute'", id="a replica works on it"),
        pytest.param("UPDATE episodes SET closed_at = NULL", id="its alert fires"),
        pytest.param("UPDATE outbox SET due_at = now(), state = 'queued'", id="a page is still to be sent"),
        pytest.param("UPDATE intents SET state = 'begun'", id="a write has no result"),
    ],
)
async def test_what_is_not_over_is_kept_whatever_its_age(database: Database, what: str) -> None:
    await over_and_done_with(database)
    await age(database, 4_000)
    await execute(database, what)

    await clearing(database).look()

    assert (await count(database, "incidents"), await count(database, "intents")) == (1, 1)
    assert await count(database, "outbox WHERE due_at IS NOT NULL") == ("outbox" in what)


async def test_what_was_written_counts_for_the_guards_however_short_incidents_are_kept(database: Database) -> None:
    await over_and_done_with(database)
    keep = Keep(raw=None, decisions=timedelta(days=1), diagnostics=None)

    await age(database, 31)
    await clearing(database, keep).look()
    still_counted = await count(database, "reservations")
    await age(database, 5)
    await clearing(database, keep).look()

    assert still_counted == 1
    assert (await count(database, "reservations"), await count(database, "incidents")) == (0, 0)


async def test_after_a_month_the_facts_are_gone_and_what_was_concluded_stays(database: Database) -> None:
    await over_and_done_with(database)
    await age(database, 31)

    await clearing(database).look()

    async with database.connection() as connection:
        progress = await connection.fetchval("SELECT progress FROM incidents")
        told = await connection.fetch("SELECT kind, message, data FROM timeline WHERE kind = 'finding'")
    assert progress["findings"]["pods"] == {"ok": True, "summary": "1 failing", "facts": {}}
    assert progress["holds"] == 2
    assert [tuple(row) for row in told] == [(EntryKind.FINDING, "seen", {})]
    assert (await count(database, "outbox"), await count(database, "intents")) == (0, 1)


async def test_facts_of_an_open_incident_stay(database: Database) -> None:
    await over_and_done_with(database)
    await age(database, 4_000)
    await execute(database, "UPDATE incidents SET status = 'acknowledged', resolved_at = NULL")

    await clearing(database).look()

    async with database.connection() as connection:
        progress = await connection.fetchval("SELECT progress FROM incidents")
    assert progress["findings"]["pods"]["facts"] == {"names": ["a"]}


async def test_episodes_without_a_rule_go_when_they_are_closed_and_old(database: Database) -> None:
    await file(database, *(alert(f"f{n}") for n in range(5)), opens=lambda _: None)
    await file(database, resolved("f0"), resolved("f1"), opens=lambda _: None)
    await age(database, 401)
    await file(database, alert("new"), resolved("new"), opens=lambda _: None)

    await clearing(database).look()

    assert await count(database, "episodes WHERE closed_at IS NULL") == 3
    assert await count(database, "episodes WHERE closed_at IS NOT NULL") == 1


async def test_a_rule_version_goes_when_no_replica_has_it_and_no_incident_refers_to_it(database: Database) -> None:
    await execute(
        database,
        "INSERT INTO rule_versions (version, rule, document) SELECT v, 'r', '{}' FROM unnest('{v1,v2,v3}'::text[]) v",
    )
    await file(database, alert())  # its incident is of v1
    await age(database, 401)

    await clearing(database, in_force=("v2",)).look()

    async with database.connection() as connection:
        kept = await connection.fetch("SELECT version FROM rule_versions ORDER BY version")
    assert [row["version"] for row in kept] == ["v1", "v2"]


async def test_a_rule_version_in_force_that_the_database_lost_is_put_back(database: Database) -> None:
    """A restore, or a failover to a standby that lagged: an incident of it could not be finished."""
    await clearing(database, in_force=("v1",)).look()
    await execute(database, "DELETE FROM rule_versions")

    await clearing(database, in_force=("v1",)).look()

    assert await count(database, "rule_versions WHERE version = 'v1'") == 1


async def old_partition(database: Database, table: str, moment: str) -> None:
    """One of a year and a half ago, with a row in it."""
    made = "'am', '{}', 1, 0, 0" if table == "deliveries" else "7, 'note', '', 'orphan', '{}'"
    columns = (
        "source, body, alerts, rejected, truncated"
        if table == "deliveries"
        else "incident_id, kind, path, message, data"
    )
    await execute(
        database,
        f"""CREATE TABLE {table}_20250303 PARTITION OF {table} FOR VALUES FROM ('2025-03-03+00') TO ('2025-03-10+00');
            INSERT INTO {table} ({columns}, {moment}) VALUES ({made}, '2025-03-04')""",
    )


@pytest.mark.parametrize(("table", "moment"), [("deliveries", "received_at"), ("timeline", "at")])
async def test_a_partition_past_its_time_is_dropped(database: Database, table: str, moment: str) -> None:
    await old_partition(database, table, moment)

    await clearing(database).look()

    assert await count(database, table) == 0
    assert await count(database, f"pg_class WHERE relname = '{table}_20250303'") == 0


async def test_a_partition_of_the_timeline_stays_while_an_incident_in_it_is_kept(database: Database) -> None:
    incident = await claimed(database)
    await old_partition(database, "timeline", "at")
    await execute(database, f"UPDATE timeline SET incident_id = {incident.id} WHERE message = 'orphan'")

    await clearing(database).look()

    assert await count(database, "timeline WHERE message = 'orphan'") == 1


async def test_for_ever_is_for_ever(database: Database) -> None:
    await over_and_done_with(database)
    await old_partition(database, "deliveries", "received_at")
    before = await left(database) | {"reservations": 0, "deliveries": await count(database, "deliveries")}
    await age(database, 4_000)

    await clearing(database, Keep(None, None, None)).look()

    assert await left(database) | {"deliveries": await count(database, "deliveries")} == before


async def test_rows_that_no_partition_took_age_in_the_default_one(database: Database) -> None:
    await execute(
        database,
        """INSERT INTO deliveries (source, body, alerts, rejected, truncated, received_at)
           VALUES ('am', '', 0, 0, 0, now() - interval '91 days'), ('am', '', 0, 0, 0, now() - interval '89 days')""",
    )

    await clearing(database).look()

    assert await count(database, "deliveries_default") == 1


async def test_partitions_are_made_ahead_and_measured(database: Database) -> None:
    async with database.transaction() as tx:
        found = await partitions.existing(tx)
        for part in found["timeline"][1:-1] + found["deliveries"][1:-1]:
            await partitions.drop(tx, part)
    clears = clearing(database)

    await clears.look()

    for table in ("deliveries", "quarantine", "timeline"):
        assert clears.metrics.registry.get_sample_value("remediator_partitions_ahead", {"table": table}) == 2


async def test_a_span_whose_rows_are_in_the_default_partition_stays_there_and_stops_nobody(database: Database) -> None:
    async with database.transaction() as tx:
        found = await partitions.existing(tx)
        for part in found["timeline"][:-1]:
            await partitions.drop(tx, part)
    await file(database, alert())

    assert await clearing(database).look()

    await file(database, alert("f2"), opens=lambda _: opening("another"))
    assert await count(database, "timeline_default") == 2
    assert await count(database, "pg_inherits WHERE inhparent = 'timeline'::regclass") == 3


async def test_one_round_belongs_to_one_replica(database: Database) -> None:
    hourly = [
        Retention(database, lambda: SimpleNamespace(rules=[]), KEEP, timedelta(hours=1), Metrics(), timedelta())  # type: ignore[arg-type,return-value]
        for _ in range(4)
    ]

    ours = await asyncio.gather(*(replica.look() for replica in hourly))

    assert sorted(ours) == [False, False, False, True]


async def test_a_partition_somebody_reads_is_dropped_in_a_later_round_and_holds_up_no_writer(
    database: Database, database_address: str
) -> None:
    await old_partition(database, "deliveries", "received_at")
    async with reading(database_address, "deliveries_20250303"):
        assert not await clearing(database).look()
        await file(database, alert())
        kept = await count(database, "pg_class WHERE relname = 'deliveries_20250303'")

    assert await clearing(database).look()

    assert (kept, await count(database, "pg_class WHERE relname = 'deliveries_20250303'")) == (1, 0)


@asynccontextmanager
async def reading(address: str, table: str) -> AsyncIterator[None]:
    connection = await asyncpg.connect(address)
    try:
        async with connection.transaction():
            await connection.execute(f"LOCK TABLE {table} IN ACCESS SHARE MODE")
            yield
    finally:
        await connection.close()


async def test_a_database_that_is_gone_ends_a_round_and_not_the_loop(database: Database) -> None:
    clears = clearing(database)
    database.pool.terminate()

    assert not await clears.look()


async def test_where_nobody_can_say_whose_round_it_is_there_is_none_and_it_is_measured_all_the_same(
    database: Database,
) -> None:
    await execute(database, "DROP TABLE retention")
    clears = clearing(database)

    assert not await clears.look()

    assert value(clears, "partitions_ahead", table="timeline") == 2
    assert value(clears, "retention_failing", step="begin", why="refused") == 1


async def test_a_step_that_cannot_be_done_holds_up_no_other_and_the_round_is_not_done(database: Database) -> None:
    await over_and_done_with(database)
    await age(database, 401)
    await execute(database, "ALTER TABLE rule_versions RENAME TO away; DELETE FROM escalations")
    await old_partition(database, "timeline", "at")
    clears = clearing(database)

    assert not await clears.look()

    assert await count(database, "incidents") == await count(database, "timeline") == 0
    assert value(clears, "retention_failing", step="rule versions", why="refused") == 1
    assert value(clears, "retention_ended_timestamp_seconds") == 0
    assert await count(database, "retention WHERE ended_at IS NULL AND failures ? 'rule versions'") == 1


async def test_what_a_step_failed_by_is_forgotten_once_it_is_done(database: Database) -> None:
    clears = clearing(database)
    await execute(database, "ALTER TABLE rule_versions RENAME TO away")
    await clears.look()
    await execute(database, "ALTER TABLE away RENAME TO rule_versions")

    assert await clears.look()

    assert value(clears, "retention_failing", step="rule versions", why="refused") is None
    assert await count(database, "retention WHERE ended_at IS NOT NULL AND failures = '{}'") == 1


async def test_a_bug_in_one_step_holds_up_no_other(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await over_and_done_with(database)
    await age(database, 401)
    monkeypatch.setattr(retention, "RESERVATIONS", retention.Sweep("reservations", "at", "t.at < 'soon'"))
    clears = clearing(database)

    assert not await clears.look()

    assert await count(database, "incidents") == 0
    assert value(clears, "retention_failing", step="reservations", why="bug") == 1


async def test_a_role_that_owns_no_table_removes_rows_and_tells_what_it_may_not(
    database: Database, database_address: str
) -> None:
    """Another role migrates; nothing was ever removed, and a line of the log alone told."""
    await over_and_done_with(database)
    await age(database, 401)
    await old_partition(database, "deliveries", "received_at")

    async with as_a_plain_role(database, database_address) as plain:
        clears = clearing(plain)
        assert not await clears.look()
        doubt = plain.health.doubt

    async with database.connection() as connection:
        failures = (await rounds.last(connection)).failures
    assert await count(database, "incidents") == 0
    assert (set(failures), doubt) == ({"old partitions of deliveries"}, "")
    assert (
        "must be owner of table deliveries_20250303; the daemon's role must own its tables"
        in failures["old partitions of deliveries"].error
    )
    assert value(clears, "retention_failing", step="old partitions of deliveries", why="refused") == 1


async def test_a_role_that_may_create_no_table_tells_that_no_partition_is_made(
    database: Database, database_address: str
) -> None:
    async with database.transaction() as tx:
        await partitions.drop(tx, (await partitions.existing(tx))["timeline"][-2])

    async with as_a_plain_role(database, database_address) as plain:
        clears = clearing(plain)
        await clears.look()

    assert value(clears, "retention_failing", step="new partitions of timeline", why="refused") == 1
    assert value(clears, "partitions_ahead", table="timeline") == 1


@asynccontextmanager
async def as_a_plain_role(database: Database, address: str) -> AsyncIterator[Database]:
    """One that may read and write all rows."""
    role = f"plain_{uuid4().hex}"
    await execute(
        database,
        f"""CREATE ROLE {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
            REVOKE CREATE ON SCHEMA public FROM PUBLIC""",
    )
    separator = "&" if "?" in address else "?"
    try:
        async with Database.open(f"{address}{separator}role={role}", pool=2) as plain:
            yield plain
    finally:
        await execute(database, f"DROP OWNED BY {role}; DROP ROLE {role}")


def value(clears: Retention, metric: str, **labels: str) -> float | None:
    return clears.metrics.registry.get_sample_value(f"remediator_{metric}", labels)


async def test_the_report_counts_what_the_next_round_removes(database: Database) -> None:
    await over_and_done_with(database)
    await old_partition(database, "deliveries", "received_at")
    await age(database, 401)
    async with database.connection() as connection:
        told = {line.what: line.would_go for line in await retention.report(connection, KEEP)}
    clears = clearing(database)
    await clears.look()

    assert told == {
        "deliveries": 1, "quarantine": 0, "incidents": 1, "episodes": 1, "timeline": 3, "intents": 1,
        "rule versions": 0, "facts of incidents": 1, "outbox": 1, "reservations": 1,
    }  # fmt: skip
    removed = clears.metrics.registry.get_sample_value("remediator_retention_removed_total", {"table": "incidents"})
    assert removed == 1
