"""A wire that hangs: nothing arrives, nobody hears of it, and what was said may still arrive much later."""

import asyncio

import asyncpg
import pytest

from tests.cluster.eventually import eventually
from tests.fakes.hanging_wire import HangingWire


async def test_while_it_hangs_nothing_is_answered_and_nobody_is_let_in(database_address: str) -> None:
    async with (wire := HangingWire()).before(database_address) as dsn:
        connection = await asyncpg.connect(dsn)
        wire.hang()

        asked = asyncio.create_task(connection.fetchval("SELECT 1"))
        with pytest.raises(TimeoutError):
            await asyncpg.connect(dsn, timeout=0.2)
        was_answered = asked.done()
        wire.go_on()

        assert (was_answered, await asked) == (False, 1)
        await connection.close()


@pytest.mark.parametrize(("goes_on", "arrives"), [(True, True), (False, False)], ids=["it goes on", "it is cut"])
async def test_what_was_said_by_who_has_hung_up_arrives_where_it_goes_on_and_not_where_it_is_cut(
    database_address: str, *, goes_on: bool, arrives: bool
) -> None:
    looks = await asyncpg.connect(database_address)
    await looks.execute("CREATE TABLE said (word text)")
    async with (wire := HangingWire()).before(database_address) as dsn:
        says, waits = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
        wire.hang()
        saying = asyncio.create_task(says.execute("INSERT INTO said VALUES ('late')"))
        await asyncio.wait({saying}, timeout=0.2)

        says.terminate()
        (wire.go_on if goes_on else wire.cut)()

        async def is_over() -> bool:
            """The server has heard the last of it."""
            others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> $1"
            return bool(await looks.fetchval(others, looks.get_server_pid()) == (1 if goes_on else 0))

        await eventually(is_over)
        waits.terminate()
        await asyncio.wait({saying})

    assert bool(await looks.fetchval("SELECT count(*) FROM said")) is arrives
    assert saying.exception() is not None
    await looks.close()
