"""kill -9 while thousands of single alerts pour in: whatever was answered with a 2xx must be in the database."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import asyncpg

from tests.fakes.alertmanager_peers import Firing, Truth, envelope, told
from tests.fakes.ports import free_port
from tests.system.daemon import TOKEN
from tests.system.rules import write_rules

SENDERS = 64
_ACCEPTED_WITHIN = 300.0


@dataclass
class Receipts:
    """`accepted` has the fingerprint of every alert that got a 2xx."""

    url: str
    accepted: set[str] = field(default_factory=set)
    refused: int = 0
    unanswered: int = 0
    _one_more: asyncio.Event = field(default_factory=asyncio.Event)

    async def reach(self, enough: int) -> None:
        """Returns right after the 2xx that makes it so many; at once where it was there before we came to wait."""
        try:
            async with asyncio.timeout(_ACCEPTED_WITHIN):
                while len(self.accepted) < enough:
                    self._one_more.clear()
                    await self._one_more.wait()
        except TimeoutError:
            answered = f"{len(self.accepted)} alerts of {enough} were answered 2xx"
            raise TimeoutError(f"{answered}, {self.refused} refused, {self.unanswered} without an answer") from None

    async def send(self, session: aiohttp.ClientSession, firing: Firing) -> None:
        """Until it is accepted, as Alertmanager would."""
        while True:
            status = await self._post(session, firing)
            if status is not None and status < 300:
                self.accepted.add(firing.fingerprint)
                self._one_more.set()
                return
            self.refused += status is not None
            self.unanswered += status is None
            await asyncio.sleep(0.05)

    async def _post(self, session: aiohttp.ClientSession, firing: Firing) -> int | None:
        try:
            async with session.post(f"{self.url}/webhooks/alertmanager", json=envelope([told(firing)])) as response:
                return response.status
        except (aiohttp.ClientError, TimeoutError):
            return None


def environment_for(folder: Path, dsn: str) -> dict[str, str]:
    """A daemon that takes alerts, which match no rule."""
    return {
        "DATABASE_URL": dsn,
        "REMEDIATOR_PORT": str(free_port()),
        "REMEDIATOR_DATA_DIR": str(folder / "data"),
        "REMEDIATOR_RULES_DIR": str(write_rules(folder / "rules")),
        "REMEDIATOR_WEBHOOKS__TOKENS": f'{{"alertmanager": ["{TOKEN}"]}}',
        "REMEDIATOR_LOG_LEVEL": "error",
    }


async def pour(environment: Mapping[str, str], *, alerts: int, kills: int) -> Receipts:
    """Sends so many alerts, one a POST, and kills the daemon so often meanwhile, each time right after a 2xx."""
    truth = Truth()
    waiting = [truth.fire({"alertname": "Unmatched", "instance": str(number)}) for number in range(alerts)]
    receipts = Receipts(f"http://127.0.0.1:{environment['REMEDIATOR_PORT']}")
    share = max(1, alerts // (kills + 1))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    connector = aiohttp.TCPConnector(limit=0, force_close=False)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def sender() -> None:
            while waiting:
                await receipts.send(session, waiting.pop())

        # No more in flight than one life is to answer, or what a kill leaves answered would be the next life's share.
        senders = asyncio.gather(*(sender() for _ in range(min(SENDERS, share))))
        for life in range(kills + 1):
            async with _daemon(environment) as process:
                await receipts.reach(alerts * (life + 1) // (kills + 1))
                process.send_signal(signal.SIGKILL)
        await senders
    return receipts


async def stored(dsn: str) -> set[str]:
    connection = await asyncpg.connect(dsn)
    try:
        return {row["fingerprint"] for row in await connection.fetch("SELECT fingerprint FROM episodes")}
    finally:
        await connection.close()


@asynccontextmanager
async def _daemon(environment: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-m", "tests.faults.daemon", env={**os.environ, **environment}
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
