"""One daemon of the nursery's, for a test that talks to it."""

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.cluster.eventually import eventually
from tests.fakes.ports import free_port
from tests.faults.nursery import Child, Nursery
from tests.system.daemon import Client


@asynccontextmanager
async def serving(
    nursery: Nursery, environment: Mapping[str, str], folder: Path, *, once: str = "/readyz"
) -> AsyncIterator[tuple[Child, Client]]:
    """`once` it answers there; killed with -9 on leaving if it still lives. Its log is in `folder`."""
    port = free_port()
    child = await nursery.bear({**environment, "REMEDIATOR_PORT": str(port)}, folder / "log")
    try:
        async with aiohttp.ClientSession() as session:
            client = Client(f"http://127.0.0.1:{port}", session)
            await eventually(lambda: answers(client, once))
            yield child, client
    finally:
        child.signal(signal.SIGKILL)
        await child.ended


async def answers(client: Client, path: str, says: str = "") -> bool:
    """With a 200, and these words in it."""
    try:
        async with client.session.get(client.url + path) as answer:
            return answer.status == 200 and says in await answer.text()
    except aiohttp.ClientError:
        return False
