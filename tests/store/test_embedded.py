"""The PostgreSQL from the wheel comes back, whatever it left behind when it was killed."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from remediator.store import embedded
from remediator.store.connecting import connect
from remediator.store.embedded import EmbeddedPostgres
from tests.cluster.eventually import eventually


@pytest.fixture
async def server() -> AsyncIterator[EmbeddedPostgres]:
    folder = Path(tempfile.mkdtemp(prefix="remediator-postgres-"))
    started = await EmbeddedPostgres.start(folder / "data")
    yield started
    await started.stop()
    shutil.rmtree(folder)


async def answers(server: EmbeddedPostgres) -> bool:
    try:
        connection = await connect(server.dsn)
    except asyncpg.ClientCannotConnectError:
        return False
    connection.terminate()
    return True


async def is_gone(server: EmbeddedPostgres) -> bool:
    return not await answers(server)


async def test_a_killed_server_whose_number_is_somebody_elses_by_now_is_started_again(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut, or in a new container. The wheel took that process for the server, for ever."""
    monkeypatch.setattr(embedded, "LOOK_EVERY_SECONDS", 0.1)
    note = Path(server.server.pgdata) / "postmaster.pid"
    number, *rest = note.read_text().splitlines(keepends=True)
    os.kill(int(number), signal.SIGKILL)
    await eventually(lambda: is_gone(server))
    with subprocess.Popen(["sleep", "600"]) as another:
        note.write_text("".join((f"{another.pid}\n", *rest)))

        keeper = asyncio.create_task(server.keep_running())
        try:
            await eventually(lambda: answers(server), within=15)
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            another.kill()


async def test_a_server_whose_socket_somebody_cleared_away_is_not_taken_for_dead(server: EmbeddedPostgres) -> None:
    """It has the folder still: another one beside it would destroy what is in it."""
    note = Path(server.server.pgdata) / "postmaster.pid"
    before = note.read_text()
    port, sockets = before.splitlines()[3:5]
    Path(sockets.strip(), f".s.PGSQL.{port}").unlink()

    await EmbeddedPostgres.start(Path(server.server.pgdata))

    assert note.read_text() == before, "the same process, since the same moment"
