"""How the database is known to be lost, and found again: without asking it, and never by a failure that passes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest
from structlog.testing import capture_logs

from remediator.domain.errors import BadDocument, Temporary
from remediator.domain.outage import STEADY
from remediator.store import database as door
from remediator.store.connecting import connect, one_by_one
from remediator.store.database import Database
from remediator.store.deadlines import RUNNING_CHAINS, WAITING_PAGES
from remediator.store.health import TELL_AGAIN, Health
from remediator.store.watch import Watch

SECOND = timedelta(seconds=1)


class Clock:
    def __init__(self) -> None:
        self.now = timedelta(hours=1)

    def __call__(self) -> timedelta:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock)


@pytest.fixture
async def watch(database: Database, database_address: str) -> AsyncIterator[Watch]:
    made = Watch(database_address, database, statements_kept=100)
    yield made
    made.hang_up()


def test_it_knows_since_when_and_why(health: Health, clock: Clock) -> None:
    health.lost("reset")
    clock.now += 5 * SECOND

    assert (health.is_well, health.reason, health.down_for) == (False, "reset", 5 * SECOND)
    with pytest.raises(Temporary, match="reset, for 5 s"):
        health.demand_answers("query")


def test_a_loss_and_a_recovery_are_told_once_each(health: Health, clock: Clock) -> None:
    with capture_logs() as told:
        for _ in range(5):
            health.lost("reset")
            health.found_well()
            clock.now += SECOND
        clock.now += STEADY
        health.found_well()
        health.found_well()

    assert [(each["log_level"], each["event"]) for each in told] == [
        ("error", "the database is lost"),
        ("info", "the database is back"),
    ]


def test_a_server_that_answers_but_cannot_is_still_asked(health: Health) -> None:
    health.lost("the disk is full", answers=True)

    health.demand_answers("transaction")

    assert not health.is_well


async def test_a_loop_tells_once_an_outage_and_waits_for_the_recovery(health: Health) -> None:
    error = Temporary("gone", system="database", operation="query")
    health.lost("reset")

    with capture_logs() as told:
        waiting = [asyncio.create_task(health.sit_out("claim incidents", error)) for _ in range(3)]
        await asyncio.sleep(0)
        assert not any(task.done() for task in waiting)
        health.found_well()
        await asyncio.gather(*waiting)

    assert [each["event"] for each in told] == ["put off until the database is well"]


async def test_a_loop_that_fails_beside_a_database_that_is_well_tells_of_it_again(
    health: Health, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watch sees nothing: without this, an escalator that pages nobody would say so once since the start."""
    monkeypatch.setattr("remediator.store.health.LOOK_AGAIN", timedelta())
    error = Temporary("lock timeout", system="database", operation="transaction")

    with capture_logs() as told:
        for _ in range(4):
            await health.sit_out("escalate", error)
            clock.now += TELL_AGAIN / 2

    assert [each["event"] for each in told] == ["put off until the database is well"] * 2


async def test_a_connection_that_was_cut_is_no_outage(database: Database, watch: Watch) -> None:
    await watch.look()
    async with database.connection() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND datname = current_database()"
        )

    await watch.look()

    assert database.health.is_well


async def test_a_pool_with_no_connection_free_is_lost_until_one_is(
    database: Database, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "ACQUIRE_SECONDS", 0.05)
    taken = [await database.pool.acquire() for _ in range(8)]

    with pytest.raises(Temporary, match="no answer in time"):
        async with database.transaction():
            pass
    await watch.look()
    exhausted = database.health.is_well
    for connection in taken:
        await database.pool.release(connection)
    await watch.look()

    assert (exhausted, database.health.is_well) == (False, True)


@pytest.mark.parametrize("table", ["outbox", "escalations"])
async def test_a_table_of_pages_that_somebody_holds_is_an_outage(
    database: Database, database_address: str, watch: Watch, table: str
) -> None:
    """Alerts would be stored, and nobody paged."""
    other = await connect(database_address)
    holding = other.transaction()
    await holding.start()
    await other.execute(f"LOCK TABLE {table} IN SHARE MODE")

    with pytest.raises(Temporary):
        async with database.transaction() as tx:
            await tx.execute(f"SET LOCAL lock_timeout = '10ms'; LOCK TABLE {table} IN ROW EXCLUSIVE MODE")
    await watch.look()
    held = database.health.is_well
    await holding.rollback()
    await other.close()
    await watch.look()

    assert (held, database.health.is_well) == (False, True)


@pytest.mark.parametrize(
    "gone",
    ["DROP INDEX outbox_dedup_key", "ALTER TABLE escalations RENAME COLUMN due_at TO due"],
    ids=["index", "column"],
)
async def test_nobody_can_be_paged_without_what_pages_are_written_with(
    database: Database, watch: Watch, gone: str
) -> None:
    async with database.connection() as connection:
        await connection.execute(gone)
    database.health.cast_doubt("a page was not ordered")

    await watch.look()

    assert not database.health.is_well


async def test_transactions_do_not_go_by_the_servers_isolation(database: Database, database_address: str) -> None:
    """Budgets count what others have reserved while we waited for them."""
    name = database_address.split("?", maxsplit=1)[0].rpartition("/")[2]
    async with database.connection() as connection:
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'")

    async with Database.open(database_address) as later, later.transaction() as tx:
        assert await tx.fetchval("SHOW transaction_isolation") == "read committed"


async def test_a_database_that_turned_read_only_is_left_for_one_that_is_not(
    database: Database, database_address: str, watch: Watch
) -> None:
    name = database_address.split("?", maxsplit=1)[0].rpartition("/")[2]
    async with database.connection() as connection:
        await connection.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")

    await watch.look()

    assert "read-only" in database.health.reason
    assert database.pool.get_size() == 0


async def test_a_database_that_forbids_what_it_is_proven_by_is_well_until_a_real_write_fails(
    database: Database, watch: Watch
) -> None:
    async with database.connection() as connection:
        await connection.execute("""
            CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql
                AS $$ BEGIN RAISE EXCEPTION 'no tables here'; END $$;
            CREATE EVENT TRIGGER forbid ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION forbid();
        """)
    database.health.lost("reset", answers=True)

    await watch.look()

    assert database.health.is_well


@asynccontextmanager
async def saying(words: bytes) -> AsyncIterator[str]:
    """The DSN of a server that says them to everybody."""

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(words)
        writer.close()

    server = await asyncio.start_server(say, "127.0.0.1", 0)
    async with server:
        yield f"postgresql://us@127.0.0.1:{server.sockets[0].getsockname()[1]}/us?sslmode=disable"


LET_IN = b"R\0\0\0\x08\0\0\0\0"
READY = b"Z\0\0\0\x05I"


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(LET_IN + b"S\0\0\0\x1cclient_encoding\0KLINGON\0" + READY, id="an encoding nobody knows"),
        pytest.param(LET_IN + b"S\0\0\0\x08\xff\0\xff\0" + READY, id="no text"),
    ],
)
async def test_a_pooler_whose_words_the_library_trips_over_is_a_database_that_is_lost(
    database: Database, words: bytes
) -> None:
    async with saying(words) as dsn:
        await Watch(dsn, database, statements_kept=100).look()

    assert "what it says is not understood" in database.health.reason


async def test_what_passes_by_itself_casts_no_doubt(database: Database) -> None:
    with pytest.raises(Temporary):
        async with database.transaction():
            raise asyncpg.DeadlockDetectedError("deadlock detected")

    assert database.health.doubt == ""


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.AdminShutdownError("terminating connection"),
        asyncpg.CannotConnectNowError("the database system is starting up"),
        asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction"),
        asyncpg.DiskFullError("could not extend file"),
        asyncpg.TooManyConnectionsError("sorry, too many clients already"),
        asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
        asyncpg.IdleInTransactionSessionTimeoutError("terminating connection"),
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.InternalClientError("cannot switch to state 15"),
        asyncpg.PostgresIOError("could not read block"),
        ConnectionResetError("reset by peer"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_every_failure_of_the_server_is_temporary_and_casts_a_doubt(database: Database, error: Exception) -> None:
    with pytest.raises(Temporary):
        async with database.transaction():
            raise error

    assert database.health.doubt


async def test_a_value_that_does_not_fit_is_a_bug_and_not_an_outage(database: Database) -> None:
    with pytest.raises(asyncpg.DataError, match="invalid input for query argument"):
        async with database.connection() as connection:
            await connection.fetchval("SELECT $1::int", "no number")

    assert database.health.doubt == ""


async def test_an_address_that_makes_no_sense_is_the_settings_fault() -> None:
    with pytest.raises(BadDocument, match="DATABASE_URL"):
        async with Database.open("no-address"):
            pass


async def test_a_session_keeps_nothing_between_two_uses(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.execute("SET LOCAL statement_timeout = '1s'")
        await tx.execute("SELECT pg_advisory_xact_lock(1)")
    async with database.connection() as connection:
        limits = [await connection.fetchval(f"SHOW {name}") for name in ("statement_timeout", "lock_timeout")]
        locks = await connection.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1")

    assert (limits, locks) == (["5s", "1200ms"], 0)


async def test_the_next_server_is_tried_where_the_first_is_away(database_address: str) -> None:
    both = "postgresql://postgres@127.0.0.1:1,127.0.0.1:2/name"

    assert one_by_one(both) == ["postgresql://postgres@127.0.0.1:1/name", "postgresql://postgres@127.0.0.1:2/name"]
    assert one_by_one(database_address) == [database_address]
    with pytest.raises(asyncpg.ClientCannotConnectError, match="cannot connect"):
        await connect(both)


async def test_deadlines_are_read_ahead_in_the_order_of_their_index(database: Database) -> None:
    """Tables without rows are sorted as cheaply, so that is ruled out."""
    async with database.transaction() as tx:
        for way in ("seqscan", "bitmapscan", "sort"):
            await tx.execute(f"SET LOCAL enable_{way} = off")
        for index, query in (("outbox_due", WAITING_PAGES), ("escalations_due", RUNNING_CHAINS)):
            plan = "\n".join(row[0] for row in await tx.fetch(f"EXPLAIN {query}", timedelta(hours=1), 10))
            assert index in plan, plan
            assert "Sort" not in plan, plan
