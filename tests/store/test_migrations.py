"""Migrations run beside replicas at work: they wait without holding anybody up, and can be begun again."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest
from structlog.testing import capture_logs

from remediator.domain.errors import BadDocument, Temporary
from remediator.store import half_way
from remediator.store import migrate as migrating
from remediator.store.database import Database
from remediator.store.migrate import Migration, Patience, migrate, shipped, status
from tests.cluster.eventually import eventually
from tests.fakes.hanging_wire import HangingWire
from tests.store.facts import until_they_wait

FIRST, *LATER = shipped()
INDEXES_DROPPED = next(position for position, m in enumerate(shipped()) if m.name == "0008_one_index_for_turns.sql")
PARTITIONING = next(m for m in LATER if m.name == "0003_retention.sql")
HURRY = Patience(tries=200, pause=timedelta(milliseconds=20))


async def as_the_first_release(address: str) -> asyncpg.Connection:
    """Migrated by the first release only."""
    connection = await asyncpg.connect(address)
    await connection.execute(FIRST.sql)
    await connection.execute(
        """CREATE TABLE migrations (
               name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"""
    )
    await connection.execute("INSERT INTO migrations VALUES ($1, $2)", FIRST.name, FIRST.checksum)
    return connection


async def deliver(connection: asyncpg.Connection, *, after: timedelta = timedelta()) -> int:
    number: int = await connection.fetchval(
        """INSERT INTO deliveries (source, received_at, body, alerts, rejected, truncated)
           VALUES ('am', now() + $1::interval, '{}', 1, 0, 0) RETURNING id""",
        after,
    )
    return number


async def test_replicas_that_start_at_once_apply_each_migration_once(empty_database_address: str) -> None:
    applied = await asyncio.gather(*(migrate(empty_database_address, patience=HURRY) for _ in range(3)))

    assert sorted(name for names in applied for name in names) == [m.name for m in shipped()]
    assert await status(empty_database_address) == []


async def test_what_was_stored_is_kept_and_numbers_go_on(empty_database_address: str) -> None:
    connection = await as_the_first_release(empty_database_address)
    before = [await deliver(connection) for _ in range(3)]

    await migrate(empty_database_address, patience=HURRY)

    assert await deliver(connection) == before[-1] + 1
    assert await connection.fetchval("SELECT count(*) FROM deliveries") == 4
    assert await connection.fetchval("SELECT count(*) FROM deliveries_first") == 4
    await connection.close()


async def test_who_may_read_before_may_read_after(empty_database_address: str) -> None:
    connection = await as_the_first_release(empty_database_address)
    await connection.execute("GRANT SELECT ON timeline TO PUBLIC")

    await migrate(empty_database_address, patience=HURRY)

    assert await connection.fetchval("SELECT has_table_privilege('pg_monitor', 'timeline', 'SELECT')")
    await connection.close()


@pytest.mark.parametrize("done", range(1, len(PARTITIONING.steps), 3))
async def test_a_migration_that_stopped_half_way_is_begun_again(empty_database_address: str, done: int) -> None:
    connection = await as_the_first_release(empty_database_address)
    for step in PARTITIONING.steps[:done]:
        await connection.execute(step)
    await deliver(connection)

    await migrate(empty_database_address, patience=HURRY)

    assert await deliver(connection) == 2
    await connection.close()


async def test_a_migration_that_waits_for_a_long_query_holds_up_no_writer(empty_database_address: str) -> None:
    writer = await as_the_first_release(empty_database_address)
    await deliver(writer)
    reader = await asyncpg.connect(empty_database_address)
    waits: list[float] = []

    async with asyncio.TaskGroup() as group, reader.transaction():
        await reader.execute("LOCK TABLE timeline IN ACCESS SHARE MODE")  # as any query takes it
        migration = group.create_task(migrate(empty_database_address, patience=HURRY))
        ends = time.monotonic() + 2
        while time.monotonic() < ends:
            began = time.monotonic()
            await deliver(writer)
            waits.append(time.monotonic() - began)
        assert not migration.done()

    assert max(waits) < 1
    assert await writer.fetchval("SELECT relkind FROM pg_class WHERE oid = 'timeline'::regclass") == b"p"
    await writer.close()
    await reader.close()


async def test_a_lock_that_is_never_free_ends_in_an_error_that_names_its_holder(empty_database_address: str) -> None:
    holder = await as_the_first_release(empty_database_address)
    await holder.execute("SET application_name = 'nightly report'")
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("LOCK TABLE quarantine IN ACCESS SHARE MODE")

    with pytest.raises(Temporary, match=r"oldest open transaction is process \d+ \(nightly report\)"):
        await migrate(empty_database_address, patience=Patience(tries=1, pause=timedelta()))

    await transaction.rollback()
    await holder.close()


async def bounds(looker: asyncpg.Connection) -> int:
    number: int = await looker.fetchval("SELECT count(*) FROM pg_constraint WHERE conname LIKE '%_first_until'")
    return number


async def until_all_are_bound(looker: asyncpg.Connection) -> None:
    async def all_are() -> bool:
        return await bounds(looker) == 3

    await eventually(all_are)


@asynccontextmanager
async def nothing_can_be_noted_as_done(address: str) -> AsyncIterator[asyncpg.Connection]:
    """Neither can the partitioning, whose steps before the last one are done all the same."""
    await (await as_the_first_release(address)).close()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(migrating, "shipped", lambda: [FIRST, *LATER[: LATER.index(PARTITIONING)]])
        await migrate(address, patience=HURRY)
    holder, looker = await asyncpg.connect(address), await asyncpg.connect(address)
    async with holder.transaction():
        await holder.execute("LOCK TABLE migrations IN SHARE MODE")
        yield looker
    await holder.close()
    await looker.close()


async def test_a_migration_that_is_given_up_refuses_no_row_weeks_later(empty_database_address: str) -> None:
    """The release before runs on: its intake stopped when the bound of the partitions was reached."""
    async with nothing_can_be_noted_as_done(empty_database_address) as looker:
        with pytest.raises(Temporary, match=PARTITIONING.name):
            await migrate(empty_database_address, patience=Patience(tries=2, pause=timedelta()))

        assert await bounds(looker) == 0
        await deliver(looker, after=timedelta(weeks=12))


async def test_a_migration_that_is_cancelled_refuses_no_row_weeks_later(empty_database_address: str) -> None:
    """As by a rollback while the new release starts."""
    async with nothing_can_be_noted_as_done(empty_database_address) as looker:
        migration = asyncio.create_task(migrate(empty_database_address, patience=HURRY))
        await until_all_are_bound(looker)

        migration.cancel()
        with pytest.raises(asyncio.CancelledError):
            await migration

        assert await bounds(looker) == 0


async def test_a_bound_that_cannot_be_taken_back_is_told_with_what_to_do(
    empty_database_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrating, "TAKE_BACK_SECONDS", 2.0)
    async with nothing_can_be_noted_as_done(empty_database_address) as looker:
        migration = asyncio.create_task(migrate(empty_database_address, patience=HURRY))
        await until_all_are_bound(looker)
        await looker.execute("BEGIN; LOCK TABLE quarantine IN ACCESS SHARE MODE")

        with capture_logs() as logs:
            migration.cancel()
            with pytest.raises(asyncio.CancelledError):
                await migration

    [told] = [line["do"] for line in logs if line["log_level"] == "error"]
    assert told == "ALTER TABLE quarantine DROP CONSTRAINT IF EXISTS quarantine_first_until"


@pytest.mark.parametrize("migration", LATER, ids=lambda m: m.name)
def test_what_a_step_before_the_last_forbids_is_taken_back_by_who_gives_up(migration: Migration) -> None:
    forbidden = {name for step in migration.steps[:-1] for name in re.findall(r"ADD CONSTRAINT (\w+)", step)}

    assert forbidden == set(half_way.LEFT_BEHIND.get(migration.name, {}))


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("to_regclass", id="what is there"),
        pytest.param("pg_try_advisory_lock", id="whose turn it is"),
        pytest.param("SELECT name, checksum", id="what is applied"),
        pytest.param("BEGIN", id="a transaction begins"),
        pytest.param("INSERT INTO migrations", id="what is done is noted"),
    ],
)
async def test_a_server_that_falls_silent_ends_in_an_error_that_says_where_to_look(
    empty_database_address: str, statement: str
) -> None:
    """It took the start with it: nothing was ever told."""
    patience = Patience(answer=timedelta(milliseconds=400))

    async with HangingWire(hangs_at=statement).before(empty_database_address) as address, asyncio.timeout(10):
        with pytest.raises(Temporary, match=r"no answer within 0\.4 s: is the server frozen or overloaded"):
            await migrate(address, patience=patience)


@pytest.mark.parametrize(
    "step", ["CREATE INDEX CONCURRENTLY incidents_due_by_rule", "CREATE TABLE retention", "COMMIT"]
)
@pytest.mark.parametrize(
    ("forgets", "told"),
    [
        pytest.param(True, "no process of the server is at it", id="a gateway forgets"),
        pytest.param(False, "has not answered anybody since", id="the network is silent"),
    ],
)
async def test_a_step_whose_answer_cannot_come_is_not_waited_for(
    empty_database_address: str, step: str, forgets: bool, told: str
) -> None:
    """It was for seven days."""
    patience = Patience(look_every=timedelta(milliseconds=20), unanswered_looks=1)
    wire = HangingWire(hangs_at=step, forgets=forgets)

    async with wire.before(empty_database_address) as address, asyncio.timeout(20):
        with pytest.raises(Temporary, match=told):
            await migrate(address, patience=patience)


async def test_who_looks_after_a_long_step_lets_it_work(empty_database_address: str) -> None:
    old = await as_the_first_release(empty_database_address)
    looker = await asyncpg.connect(empty_database_address)
    patience = Patience(tries=200, pause=timedelta(milliseconds=20), look_every=timedelta(milliseconds=20))

    async with asyncio.TaskGroup() as group, old.transaction(isolation="repeatable_read"):
        await old.fetch("SELECT FROM incidents")
        migration = group.create_task(migrate(empty_database_address, patience=patience))
        await eventually(lambda: looker.fetchval(_BUILDS_FOR_LONG))

    assert migration.result() == [m.name for m in LATER]
    await old.close()
    await looker.close()


async def test_a_step_may_take_longer_than_any_other_statement(empty_database_address: str) -> None:
    old = await as_the_first_release(empty_database_address)
    looker = await asyncpg.connect(empty_database_address)
    patience = Patience(tries=200, pause=timedelta(milliseconds=20), answer=timedelta(seconds=1))

    async with asyncio.TaskGroup() as group, old.transaction(isolation="repeatable_read"):
        await old.fetch("SELECT FROM incidents")  # a snapshot, for which every new index waits
        migration = group.create_task(migrate(empty_database_address, patience=patience))
        await eventually(lambda: looker.fetchval(_BUILDS_FOR_LONG))

    assert migration.result() == [m.name for m in LATER]
    await old.close()
    await looker.close()


_BUILDS_FOR_LONG = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE '% migrate' AND state = 'active'
      AND query LIKE '%CREATE INDEX CONCURRENTLY%' AND clock_timestamp() - query_start > interval '1500 ms')
"""


async def test_a_turn_that_somebody_has_and_does_not_use_ends_in_an_error_that_says_how_to_take_it(
    empty_database_address: str,
) -> None:
    frozen = await asyncpg.connect(empty_database_address, server_settings={"application_name": "frozen"})
    pid = await frozen.fetchval("SELECT pg_backend_pid() FROM pg_advisory_lock($1)", 0x52454D45)

    with pytest.raises(Temporary, match=rf"process {pid} \(frozen\) .* SELECT pg_terminate_backend\({pid}\)"):
        await migrate(empty_database_address, patience=Patience(tries=2, pause=timedelta()))

    await frozen.close()


async def test_a_turn_is_waited_for_as_long_as_whoever_has_it_works(empty_database_address: str) -> None:
    busy = await asyncpg.connect(empty_database_address)
    gate = await asyncpg.connect(empty_database_address)
    looker = await asyncpg.connect(empty_database_address)
    await gate.execute("CREATE TABLE gate ()")
    await gate.execute("BEGIN; LOCK TABLE gate")
    await busy.execute("SELECT pg_advisory_lock($1)", 0x52454D45)
    patience = Patience(tries=1, pause=timedelta(milliseconds=1))

    async with asyncio.TaskGroup() as group:
        working = group.create_task(busy.execute("SELECT FROM gate; SELECT pg_advisory_unlock_all()"))
        await until_they_wait(looker, working)
        migration = group.create_task(migrate(empty_database_address, patience=patience))
        await until_the_holder_is_looked_at_often(looker)
        await gate.execute("COMMIT")

    assert migration.result() == [m.name for m in shipped()]
    for connection in (busy, gate, looker):
        await connection.close()


async def test_whoever_is_not_shown_what_the_holder_does_takes_it_to_be_at_work(empty_database_address: str) -> None:
    holder = await asyncpg.connect(empty_database_address)
    looker = await asyncpg.connect(empty_database_address)
    await holder.execute("CREATE ROLE stranger; GRANT ALL ON SCHEMA public TO stranger")
    await holder.execute("SELECT pg_advisory_lock($1)", 0x52454D45)
    patience = Patience(tries=1, pause=timedelta(milliseconds=1))

    separator = "&" if "?" in empty_database_address else "?"
    async with asyncio.TaskGroup() as group:
        migration = group.create_task(migrate(f"{empty_database_address}{separator}role=stranger", patience=patience))
        await until_the_holder_is_looked_at_often(looker)
        await holder.execute("SELECT pg_advisory_unlock_all()")

    assert migration.result() == [m.name for m in shipped()]
    await holder.execute("DROP OWNED BY stranger CASCADE; DROP ROLE stranger")
    for connection in (holder, looker):
        await connection.close()


async def test_what_is_dropped_holds_up_nobody_who_reads_beside_a_long_look(
    empty_database_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = shipped()
    with monkeypatch.context() as patched:
        patched.setattr(migrating, "shipped", lambda: every[:INDEXES_DROPPED])
        await migrate(empty_database_address)
    dump = await asyncpg.connect(empty_database_address)
    looker = await asyncpg.connect(empty_database_address, server_settings={"lock_timeout": "100ms"})

    async def it_waits() -> bool:
        await looker.execute("SELECT FROM incidents; SELECT FROM outbox")
        return bool(await looker.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"))

    async with asyncio.TaskGroup() as group, dump.transaction():
        await dump.execute("SELECT FROM incidents; SELECT FROM outbox")
        migration = group.create_task(migrate(empty_database_address, patience=Patience(tries=1)))
        await eventually(it_waits)

    assert migration.result() == [m.name for m in every[INDEXES_DROPPED:]]
    await dump.close()
    await looker.close()


async def until_the_holder_is_looked_at_often(looker: asyncpg.Connection) -> None:
    looks = set()

    async def looked_often() -> bool:
        looks.add(await looker.fetchval(_LOOKED_AT_THE_HOLDER))
        return len(looks) > 4

    await eventually(looked_often)


_LOOKED_AT_THE_HOLDER = """
SELECT query_start FROM pg_stat_activity
WHERE datname = current_database() AND query LIKE '%is_at_work%' AND application_name LIKE '% migrate'
"""


async def test_a_release_starts_on_a_database_that_a_later_one_has_expanded(
    database: Database, database_address: str
) -> None:
    async with database.transaction() as tx:
        await tx.execute("INSERT INTO migrations (name, checksum) VALUES ('9999_later.sql', 'x')")

    assert await migrate(database_address) == []


async def test_a_release_refuses_a_database_that_was_contracted_beyond_it(
    database: Database, database_address: str
) -> None:
    async with database.transaction() as tx:
        await tx.execute(
            "INSERT INTO migrations (name, checksum, needs) VALUES ('9999_contract.sql', 'x', '9000_expand.sql')"
        )

    with pytest.raises(BadDocument, match=r"9000_expand\.sql can run on it: upgrade this replica"):
        await migrate(database_address)


async def test_an_applied_migration_that_was_edited_is_refused(database: Database, database_address: str) -> None:
    async with database.transaction() as tx:
        await tx.execute("UPDATE migrations SET checksum = 'x' WHERE name = $1", FIRST.name)

    with pytest.raises(BadDocument, match="was changed after it was applied"):
        await migrate(database_address)


def test_a_contract_names_the_migration_that_a_release_must_ship() -> None:
    contract = Migration("0009_contract.sql", "-- needs: 0007_expand.sql\nALTER TABLE incidents DROP COLUMN title;")

    assert (contract.needs, FIRST.needs) == ("0007_expand.sql", "")


SAYS_SO = "-- locks: "
LONG_LOCKS = {
    r"ALTER COLUMN \w+ (SET DATA )?TYPE|ALTER \w+ TYPE": "rewrites the table or indexes under lock: add, fill, swap",
    r"SET NOT NULL": "reads the whole table under lock: add a CHECK as NOT VALID and validate it",
    r"ADD COLUMN (?!.*DEFAULT)[^,;]*NOT NULL": "fails on rows that are there: give a default",
    r"ADD COLUMN [^,;]*(clock_timestamp|random|gen_random_uuid|nextval|IDENTITY)": "rewrites the table under lock",
    r"CREATE (UNIQUE )?INDEX (?!CONCURRENTLY)": "stops writers while it is built: say CONCURRENTLY, in a step alone",
    r"ADD (CONSTRAINT \w+ )?(CHECK|FOREIGN KEY)(?!.*NOT VALID)": "reads the whole table under lock: say NOT VALID",
    r"VACUUM FULL|CLUSTER |REINDEX (?!.*CONCURRENTLY)": "locks the table for as long as it takes",
    r"DROP (TABLE|COLUMN) |RENAME COLUMN": "breaks the release before: a contract, see `-- needs:`",
}


@pytest.mark.parametrize("migration", LATER, ids=lambda m: m.name)
def test_no_migration_takes_a_long_lock_on_a_table_in_use_without_saying_so(migration: Migration) -> None:
    assert long_locks(migration) == []


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("ALTER TABLE incidents ALTER COLUMN title TYPE varchar(9);", "rewrites the table"),
        ("ALTER TABLE incidents ADD COLUMN team text NOT NULL;", "give a default"),
        ("CREATE INDEX by_team ON incidents (team);", "say CONCURRENTLY"),
        ("ALTER TABLE incidents ADD CONSTRAINT c CHECK (epoch > 0);", "say NOT VALID"),
        ("ALTER TABLE incidents DROP COLUMN title;", "a contract"),
    ],
)
def test_the_lock_rules_see_what_they_are_for(sql: str, reason: str) -> None:
    assert reason in long_locks(Migration("x.sql", sql))[0]


def test_a_new_table_may_be_built_in_any_way() -> None:
    sql = "CREATE TABLE teams (name text);\nCREATE INDEX teams_by_name ON teams (name);"

    assert long_locks(Migration("x.sql", sql)) == []


def long_locks(migration: Migration) -> list[str]:
    """Statements that would hold a lock for long. `-- locks: why that is right here` lets one pass, or its whole step
    where the step opens with it."""
    found = []
    for step in migration.steps:
        new = set(re.findall(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)", step))
        opening = "".join(re.findall(r"\A(?:\s*--.*\n)+", step))
        for statement in step.split(";") if SAYS_SO not in opening else ():
            words = " ".join(re.sub(r"--.*$", "", statement, flags=re.MULTILINE).split())
            table = re.search(r"(?:ALTER TABLE|\bON) (?:IF EXISTS |ONLY )?(\w+)", words)
            if SAYS_SO not in statement and not (table and table[1] in new):
                found += [f"{words[:80]}: {why}" for rule, why in LONG_LOCKS.items() if re.search(rule, words)]
    return found


@pytest.mark.parametrize(
    "table",
    [
        pytest.param("incidents (id int)", id="incidents"),
        pytest.param("migrations (id serial, migration text, batch int)", id="migrations"),
    ],
)
async def test_another_applications_table_is_told_and_kept(empty_database_address: str, table: str) -> None:
    name = table.split(maxsplit=1)[0]
    owner = await asyncpg.connect(empty_database_address)
    await owner.execute(f"CREATE TABLE {table}")

    with pytest.raises(BadDocument, match="another application uses this database: give Remediator one of its own"):
        await migrate(empty_database_address)

    assert await owner.fetchval(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum = 1", name
    )
    await owner.close()


async def test_a_search_path_that_leads_nowhere_is_told(empty_database_address: str) -> None:
    separator = "&" if "?" in empty_database_address else "?"

    with pytest.raises(BadDocument, match="search_path of this role names no schema that is there"):
        await migrate(f"{empty_database_address}{separator}search_path=nowhere")
