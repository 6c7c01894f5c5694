"""The replicas of one seed and their supervisor: what dies is started again, what freezes is replaced and thawed."""

import asyncio
import itertools
import math
import signal
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import aiohttp

from remediator.cli.exits import Exit
from tests.cluster.eventually import eventually
from tests.faults.daemon import How
from tests.faults.nursery import Child, Nursery
from tests.faults.scenario import FROZEN_SECONDS, Fault, Scenario

_CODES = {How.KILL: -signal.SIGKILL, How.END: 0}
_READABLE = 400
"""Characters of a log line."""


@dataclass(slots=True)
class Replica:
    port: int
    faults: tuple[Fault, ...]
    clock_hours: float = 0
    child: Child | None = None

    def fault(self, life: int) -> Fault | None:
        return self.faults[life] if life < len(self.faults) else None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass
class Fleet:
    nursery: Nursery
    scenario: Scenario
    environment: Mapping[str, str]
    folder: Path
    before_thaw: Callable[[], Awaitable[None]]
    may_refuse: Callable[[datetime], bool] = lambda since: False
    """Whether there were no rules to begin with, at some moment since then."""
    replicas: list[Replica] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    crashed: list[str] = field(default_factory=list)
    """Daemons that ended by themselves, and how."""
    births: list[datetime] = field(default_factory=list)
    failed: asyncio.Future[None] = field(init=False)
    """Raises what a keeper died of: nobody starts again what dies then."""
    _keepers: set[asyncio.Task[None]] = field(default_factory=set)
    _freezing: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Fleet"]:
        self.failed = asyncio.get_running_loop().create_future()
        for number in range(self.scenario.replicas):
            faults = self.scenario.faults if self.scenario.strikes_all or number == 0 else ()
            self._add(Replica(next(_ports), faults, self.scenario.clock_hours[number]))
        try:
            yield self
        finally:
            await self._end()

    def urls(self) -> list[str]:
        return [replica.url for replica in self.replicas]

    def living(self) -> list[int]:
        """Process ids that can act."""
        return [replica.child.pid for replica in self.standing() if replica.child]

    def hang_up(self) -> None:
        """SIGHUP for everybody who has got as far as to hear it: there are other rules."""
        for replica in self.replicas:
            if replica.child is not None and not _is_free(replica.port):
                replica.child.signal(signal.SIGHUP)

    def standing(self, *, since: float = math.inf) -> list[Replica]:
        """Those that can answer, and could ever since."""
        return [r for r in self.replicas if r.child is not None and r.child.stands(since)]

    def unrest(self) -> list[str]:
        """Who is frozen, or about to be started again."""
        frozen = ["a daemon is frozen"] if self._freezing else []
        return frozen + [
            f"no daemon on port {r.port}" for r in self.replicas if r.child is None or not r.child.is_alive
        ]

    def complaints(self) -> list[str]:
        """Who ended by itself, and what the daemons caught and took for a bug of ours: it may have healed meanwhile."""
        logs = [line for log in sorted(self.folder.glob("*.log")) for line in log.read_text().splitlines()]
        return self.crashed + [line[:_READABLE] for line in logs if '"exception":' in line or "Traceback" in line]

    async def until_ready(self, session: aiohttp.ClientSession) -> None:
        async def is_ready() -> bool:
            if self.failed.done():
                self.failed.result()
            for url in self.urls():
                try:
                    async with session.get(f"{url}/readyz", timeout=aiohttp.ClientTimeout(1)) as response:
                        if response.status == 200:
                            return True
                except (aiohttp.ClientError, TimeoutError):
                    continue
            return False

        await eventually(is_ready, within=60)

    def struck(self, how: How) -> Counter[str]:
        """By mark, told by those whom it befell."""
        return Counter(mark for _, h, mark in (line.split(" ", 2) for line in self._deaths()) if h == how)

    def _deaths(self) -> list[str]:
        """Each with its process id, how, and at which mark; some only froze."""
        return self._told.read_text().splitlines() if self._told.exists() else []

    @property
    def _told(self) -> Path:
        return self.folder / "struck"

    def _add(self, replica: Replica) -> None:
        self.replicas.append(replica)
        keeper = asyncio.create_task(self._keep(replica))
        self._keepers.add(keeper)
        keeper.add_done_callback(self._tell_of)

    def _tell_of(self, keeper: asyncio.Task[None]) -> None:
        error = None if keeper.cancelled() else keeper.exception()
        if error is not None and not self.failed.done():
            self.failed.set_exception(error)

    async def _keep(self, replica: Replica) -> None:
        random = Random(f"{self.scenario.seed}:{replica.port}")  # noqa: S311  # repeatable, guards nothing
        life = 0
        while True:
            self.births.append(born_at := datetime.now(UTC))
            replica.child = child = await self.nursery.bear(
                self._environment(replica, life), self.folder / f"{replica.port}.log"
            )
            self.counts["daemons started"] += 1
            await self._watch(child)
            code = await asyncio.shield(child.ended)
            if code == Exit.USAGE and self.may_refuse(born_at):
                self.counts["starts refused for want of rules"] += 1
            else:
                self._judge(replica, child, code, life=life)
                life += 1
            await asyncio.sleep(random.uniform(0.02, 0.3))

    def _judge(self, replica: Replica, child: Child, code: int, *, life: int) -> None:
        """It has ended as it was to end, and where: else by itself."""
        fault = replica.fault(life)
        if (
            fault is None
            or code != _CODES.get(fault.how)
            or f"{child.pid} {fault.how} {fault.mark}" not in self._deaths()
        ):
            self.crashed.append(f"the daemon on port {replica.port} ended by itself with {code}")

    async def _watch(self, child: Child) -> None:
        """Returns when it has ended. Whoever freezes is replaced, and goes on when all think that it is gone."""
        stopped = asyncio.create_task(child.stopped.wait())
        try:
            await asyncio.wait({stopped, child.ended}, return_when=asyncio.FIRST_COMPLETED)
            if child.is_alive:
                await self._freeze(child)
        finally:
            stopped.cancel()

    async def _freeze(self, child: Child) -> None:
        self._freezing += 1
        self.counts["frozen past their lease"] += 1
        self._add(Replica(next(_ports), ()))
        await asyncio.sleep(FROZEN_SECONDS)
        await self.before_thaw()
        child.stopped.clear()
        child.signal(signal.SIGCONT)
        child.stands_since = time.monotonic()
        self._freezing -= 1

    def _environment(self, replica: Replica, life: int) -> dict[str, str]:
        environment = {**self.environment, "REMEDIATOR_PORT": str(replica.port)}
        if replica.clock_hours:
            environment["FAULTS_CLOCK_HOURS"] = str(replica.clock_hours)
        if (fault := replica.fault(life)) is not None:
            environment |= {
                "FAULTS_MARK": fault.mark.name,
                "FAULTS_OCCURRENCE": str(fault.occurrence),
                "FAULTS_HOW": fault.how,
                "FAULTS_TOLD": str(self._told),
            }
        return environment

    async def _end(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        self.failed.cancel()
        for replica in self.replicas:
            if replica.child is not None:
                replica.child.signal(signal.SIGKILL)
                await replica.child.ended


def _free_ports() -> Iterator[int]:
    """Below those that the kernel gives to outgoing connections: a daemon comes back to the port it had."""
    start = Random().randrange(12_000, 28_000)  # noqa: S311
    for port in itertools.cycle((*range(start, 30_000), *range(10_000, start))):
        if _is_free(port):
            yield port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) != 0


_ports = _free_ports()
