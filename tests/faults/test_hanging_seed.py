"""A seed that hangs is one more that fails: it tells what it waits for, and the run goes on."""

import asyncio
from pathlib import Path
from unittest.mock import Mock

import asyncpg
import pytest

from tests.cluster.eventually import eventually
from tests.faults import world
from tests.faults.drawing import draw
from tests.faults.waits import sessions


async def test_a_seed_that_hangs_fails_and_names_what_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(world, "_play", hangs)

    verdict = await world.play(draw(0), Mock(folder=tmp_path, worlds={}), within=0.05)

    assert "not over" in str(verdict.violations[0])
    assert verdict.figures.counts["seeds"] == 1
    (waits,) = (line for line in verdict.timeline if line.startswith("seed 0 waits in "))
    assert "hangs" in waits
    assert "Event.wait" in waits


async def test_a_session_that_waits_for_another_names_it(database_address: str) -> None:
    holds, waits, looks = [await asyncpg.connect(database_address) for _ in range(3)]
    await holds.execute("SELECT pg_advisory_lock(1)")
    waiting = asyncio.create_task(waits.execute("SELECT pg_advisory_lock(1)"))

    async def is_named() -> bool:
        return any(f"blocked_by=[{holds.get_server_pid()}]" in line for line in await sessions(looks))

    await eventually(is_named, within=10)

    await holds.close()
    await waiting
    for connection in (waits, looks):
        await connection.close()
