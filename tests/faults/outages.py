"""What befalls the database of one seed, and what the replicas say while nothing comes through to it."""

import asyncio
import time
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

import aiohttp

from tests.cluster.eventually import eventually
from tests.fakes.alertmanager_peers import Truth, envelope, told
from tests.fakes.hanging_wire import HangingWire
from tests.faults.books import DATABASE_ERRORS
from tests.faults.database import Server
from tests.faults.evidence import Probe
from tests.faults.fleet import Fleet, Replica
from tests.faults.scenario import DatabaseFault, Gust, Storm
from tests.system.daemon import TOKEN

_LONG_ENOUGH = 8.0
_NOTICED_WITHIN = 4.5
"""Seconds: a look each second, its answer, and another connection."""
_LET_IN_WITHIN = 60.0
_Asking: TypeAlias = AbstractAsyncContextManager[aiohttp.ClientResponse]


@dataclass
class Outages:
    server: Server
    name: str
    """Of the database."""
    wire: HangingWire
    """Between the replicas and it."""
    fleet: Fleet
    session: aiohttp.ClientSession
    truth: Truth
    probes: list[Probe] = field(default_factory=list)

    async def befall(self, fault: DatabaseFault, *, at: float) -> None:
        await asyncio.sleep(at)
        match fault:
            case DatabaseFault.CONNECTIONS:
                await self.server.drop_connections(self.name)
            case DatabaseFault.CRASH:
                await self.server.crash()
            case DatabaseFault.RESTART:
                await self.server.restart()
            case DatabaseFault.HANGS:
                await self._hang()
                self.wire.go_on()
            case DatabaseFault.HANGS_UNTIL_CUT:
                await self._hang()
                self.wire.cut()

    async def storm(self, storm: Storm) -> None:
        began = time.monotonic()
        for gust in storm.gusts:
            await asyncio.sleep(gust.at - (time.monotonic() - began))
            await self._blow(gust)

    async def _blow(self, gust: Gust) -> None:
        """A server that is down at that moment has no sessions to end."""
        with suppress(*DATABASE_ERRORS):
            await self.server.let_in(self.name, is_open=False)
            await self.server.drop_connections(self.name, share=gust.share)
        await asyncio.sleep(gust.shut_for)
        await eventually(self._is_let_in, within=_LET_IN_WITHIN)

    async def _is_let_in(self) -> bool:
        try:
            await self.server.let_in(self.name, is_open=True)
        except DATABASE_ERRORS:
            return False
        return True

    async def _hang(self) -> None:
        """For as long as it takes to notice. Whoever is asked before does not wait for that either."""
        self.wire.hang()
        hung_at = time.monotonic()
        async with asyncio.TaskGroup() as asking:
            for replica in self.fleet.standing():
                asking.create_task(self._probe(replica, "a webhook", self._webhook(replica), since=hung_at))
            await asyncio.sleep(_NOTICED_WITHIN)
            for replica in self.fleet.standing(since=hung_at):
                ready = self.session.get(f"{replica.url}/readyz")
                asking.create_task(self._probe(replica, "/readyz", ready, since=hung_at))
                asking.create_task(self._probe(replica, "a later webhook", self._webhook(replica), since=hung_at))

    def _webhook(self, replica: Replica) -> _Asking:
        body = envelope([told(firing) for firing in self.truth.latest()])
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return self.session.post(f"{replica.url}/webhooks/alertmanager", json=body, headers=headers)

    async def _probe(self, replica: Replica, of: str, asking: _Asking, *, since: float) -> None:
        """Counts if it neither died nor froze meanwhile: else it had no time to notice. We may hear of its end later
        than of the connection that its end cut."""
        began, status = time.monotonic(), 0
        try:
            async with asyncio.timeout(_LONG_ENOUGH), asking as answer:
                status = answer.status
        except aiohttp.ClientError:
            return
        except TimeoutError:
            pass
        if replica in self.fleet.standing(since=since):
            self.probes.append(Probe(of, status, time.monotonic() - began))
