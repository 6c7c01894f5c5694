"""Who is given which connection: one is kept from one use to the next, and only while it is of use."""

import asyncio
import traceback
from typing import Any

import asyncpg
import pytest

from remediator.domain.errors import BadDocument, Temporary
from remediator.store import database as door
from remediator.store.connecting import one_by_one
from remediator.store.database import Database, is_storable
from tests.fakes.hanging_wire import HangingWire


async def server_process(database: Database) -> int:
    async with database.connection() as connection:
        number: int = await connection.fetchval("SELECT pg_backend_pid()")
    return number


async def _fail(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("SET statement_timeout = 1")
        await connection.execute("SELECT pg_sleep(1)")


async def test_the_same_connection_is_used_again(database: Database) -> None:
    assert len({await server_process(database) for _ in range(3)}) == 1
    assert database.pool.get_idle_size() == 0


async def test_a_connection_that_failed_goes_back_to_the_pool(database: Database) -> None:
    with pytest.raises(Temporary):
        await _fail(database)

    assert database.pool.get_idle_size() == 1


async def test_a_connection_that_was_cut_while_nobody_used_it_is_passed_over(database: Database) -> None:
    first = await server_process(database)
    database.drop_connections()

    assert await server_process(database) != first


async def test_a_connection_that_is_dropped_between_two_steps_of_a_statement_is_a_failure_of_the_database(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prepared, and not yet sent: asyncpg trips over itself there, and no alert must be put aside for it."""
    prepare = asyncpg.Connection._get_statement  # noqa: SLF001  # the step before the one that fails

    async def prepare_and_lose(connection: "asyncpg.Connection[asyncpg.Record]", *what: Any, **how: Any) -> Any:
        statement = await prepare(connection, *what, **how)
        database.drop_connections()
        return statement

    await server_process(database)
    with monkeypatch.context() as patched:
        patched.setattr(asyncpg.Connection, "_get_statement", prepare_and_lose)
        with pytest.raises(Temporary, match="closed under a statement"):
            await server_process(database)
    assert await server_process(database)


async def test_connections_that_a_gateway_forgot_are_not_waited_for_one_after_the_other(database_address: str) -> None:
    wire = HangingWire()
    async with wire.before(database_address) as through, Database.open(through, pool=4) as database:
        async with database.connection(), database.connection(), database.connection():
            pass
        wire.forget()

        async with asyncio.timeout(door.ACQUIRE_SECONDS):
            with pytest.raises(Temporary, match="no answer in time"):
                async with database.connection() as connection:
                    await connection.fetchval("SELECT 1", timeout=0.1)
            assert await server_process(database)


async def test_a_bug_of_ours_is_not_taken_for_a_failure_of_the_database(database: Database) -> None:
    nothing: Any = None

    with pytest.raises(AttributeError):
        async with database.connection():
            nothing.execute("SELECT 1")


async def test_who_waits_is_given_what_another_is_done_with(database_address: str) -> None:
    async with Database.open(database_address, pool=1) as database:
        async with asyncio.timeout(door.ACQUIRE_SECONDS):
            assert len(set(await asyncio.gather(*(server_process(database) for _ in range(5))))) == 1


async def test_a_connection_that_nobody_used_for_long_goes_back_to_the_pool(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.connection(), database.connection():
        pass
    spare = database.pool.get_size() - database.pool.get_idle_size()
    monkeypatch.setattr(door, "SPARE_SECONDS", 0.0)
    await server_process(database)

    assert (spare, database.pool.get_idle_size()) == (2, 1)


async def test_what_the_pool_was_given_back_is_closed_before_a_gateway_forgets_it(
    database_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert door.SPARE_SECONDS + door.POOLED_SECONDS < 240
    monkeypatch.setattr(door, "SPARE_SECONDS", -1.0)
    monkeypatch.setattr(door, "POOLED_SECONDS", 0.01)
    closed = asyncio.Event()

    async with Database.open(database_address) as database:
        async with database.connection() as connection:
            connection.add_termination_listener(lambda _: closed.set())
        async with asyncio.timeout(5):
            await closed.wait()


@pytest.mark.parametrize(
    ("said", "is_kept_as"),
    [
        pytest.param("plain", "plain", id="plain"),
        pytest.param("a\x00b", "a\ufffdb", id="a NUL"),
        pytest.param("half: \ud83d", "half: ?", id="half a character"),
        pytest.param(r"[^\u0000-\u007F]", r"[^\u0000-\u007F]", id="six characters that are no NUL"),
        pytest.param("\\\x00\\u0000", "\\\ufffd\\u0000", id="both, after a backslash"),
    ],
)
async def test_jsonb_keeps_what_it_can_hold_as_it_is(database: Database, said: str, is_kept_as: str) -> None:
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT $1::jsonb", {said: [said]}) == {is_kept_as: [is_kept_as]}

    assert is_storable({said: [said]}) == (said == is_kept_as)


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:hu[sh@127.0.0.1:1/db",
        "postgresql://u:hu#sh@127.0.0.1:1/db",
        "postgresql://u:12#hush@127.0.0.1:1/db",
        "postgresql://u:hu?sh@127.0.0.1:1/db",
        "postgresql://u:12/hush@127.0.0.1:1/db",
        "postgresql://u:hu@sh@127.0.0.1:1/db",
        "postgresql://u:hu\u2100sh@127.0.0.1:1/db",
        "postgresql://u:hush@127.0.0.1:port/db",
        "postgresql://u:hush@127.0.0.1:99999/db",
        "postgresql://u:hush@127.0.0.1:1,127.0.0.1:0/db",
        "postgresql://u:hush@/db?host=127.0.0.1&port=99999",
        "postgresql://u:hush@[::1/db",
    ],
)
async def test_an_address_that_is_none_is_told_without_any_of_it_and_not_waited_for(dsn: str) -> None:
    with pytest.raises(BadDocument, match="DATABASE_URL is no address of a database") as refused:
        async with Database.open(dsn):
            pass

    told = "".join(traceback.format_exception(refused.value))
    assert "percent-encode" in str(refused.value)
    assert "hu" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert "ValueError" not in told, "its words hold a part of the password"


async def test_an_address_with_everything_in_it_is_one() -> None:
    dsn = "postgresql://u%40x:p%23%5B@[::1]:5433,b:/name?host=/a%20b&port=5433&user=a@b"

    assert len(one_by_one(dsn)) == 2
