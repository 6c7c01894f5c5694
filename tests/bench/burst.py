"""A burst of ten thousand single-alert POSTs, as a real Alertmanager sends them with `group_by: ['...']`.

It opens thousands of connections at once, and a slow receiver gets more of them. Where Debian's package is missing, the
load generator opens as many itself.
"""

import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import aiohttp
import msgspec

from tests.bench import alerts, rulebooks
from tests.bench.bench import Bench, median_ratio, settings, until_count
from tests.bench.figures import Figure, Goal, Reading, Unit, median_reading
from tests.bench.load import Order
from tests.bench.processes import Failed, Served, alertmanager, daemon, floor, load
from tests.system.daemon import TOKEN

ALERTS = 10_000
CONNECTIONS = 3_000
A_REQUEST = 1_000
"""Alerts told to Alertmanager at once."""
WITHIN = 120.0
RULES = 1_000
FAILED = 'alertmanager_notification_requests_failed_total{integration="webhook"'


@dataclass(frozen=True, slots=True)
class Went:
    seconds: float
    """Until the last alert was stored."""
    refused: int
    """POSTs that got no 2xx; Alertmanager sent them again."""


Burst = Callable[[Bench, Served, Awaitable[None]], Awaitable[Went]]
"""Sends everything to a receiver; what is awaited ends when everything is stored."""


async def measure(bench: Bench) -> AsyncIterator[Figure]:
    binary = shutil.which("prometheus-alertmanager")
    sender = "a real Alertmanager" if binary else f"{CONNECTIONS:,} connections (no prometheus-alertmanager here)"
    burst: Burst = partial(_from_alertmanager, binary) if binary else _from_the_load
    bench.tell(f"burst: {ALERTS:,} single-alert POSTs by {sender}")
    refused: list[int] = []
    own, floors = await bench.pairs(partial(_ours, bench, burst, refused), partial(_floor, bench, burst))
    ours = median_reading(own)
    what = f"{ALERTS:,} POSTs by {sender}"
    yield Figure(
        subject="burst",
        what=f"{what} are stored",
        unit=Unit.SECONDS,
        ours=ours,
        floor=median_reading(floors),
        ratio=median_ratio(own, floors),
        goal=Goal("within 4 s", ours.value < 4),
    )
    most = max(refused)
    yield Figure(
        subject="burst",
        what=f"{what}, refused",
        unit=Unit.COUNT,
        ours=Reading(most),
        goal=Goal("none", most == 0),
    )


async def _ours(bench: Bench, burst: Burst, refused: list[int]) -> Reading:
    async with bench.database() as dsn:
        folder = bench.new_folder("burst")
        rules = rulebooks.write(folder / "rules", *rulebooks.other_rules(RULES))
        async with daemon(settings(folder, dsn, rules)) as served:
            went = await burst(bench, served, _all_stored(dsn, "episodes"))
    refused.append(went.refused)
    return Reading(went.seconds)


async def _floor(bench: Bench, burst: Burst) -> Reading:
    async with bench.database() as dsn, floor(dsn) as served:
        went = await burst(bench, served, _all_stored(dsn, "floor"))
    return Reading(went.seconds)


async def _all_stored(dsn: str, table: str) -> None:
    await until_count(dsn, ALERTS, f"SELECT count(*) FROM {table}", within=WITHIN)  # noqa: S608  # our own two names


async def _from_alertmanager(binary: str, bench: Bench, served: Served, stored: Awaitable[None]) -> Went:
    folder = bench.new_folder("alertmanager")
    webhook = f"{served.url}/webhooks/alertmanager"
    async with alertmanager(binary, folder, webhook) as sender, aiohttp.ClientSession(sender.url) as session:
        began = time.perf_counter()
        for first in range(0, ALERTS, A_REQUEST):
            await _tell(session, range(first, first + A_REQUEST))
        await stored
        return Went(time.perf_counter() - began, await _failed(session))


async def _tell(session: aiohttp.ClientSession, numbers: range) -> None:
    told = [
        {name: alert[name] for name in ("labels", "annotations", "startsAt", "generatorURL")}
        for alert in msgspec.json.decode(alerts.body(numbers))["alerts"]
    ]
    async with session.post("/api/v2/alerts", json=told) as response:
        if response.status != 200:
            raise Failed(f"Alertmanager answered {response.status}: {await response.text()}")


async def _failed(session: aiohttp.ClientSession) -> int:
    """By Alertmanager's own count of requests that got no 2xx."""
    async with session.get("/metrics") as response:
        lines = (await response.text()).splitlines()
    counts = [line.rpartition(" ")[2] for line in lines if line.startswith(FAILED)]
    return int(sum(map(float, counts)))


async def _from_the_load(bench: Bench, served: Served, stored: Awaitable[None]) -> Went:
    """One refused is `Failed`."""
    sent = await load(Order(ports=(served.port,), token=TOKEN, connections=CONNECTIONS, posts=ALERTS))
    await stored
    return Went(sent.seconds, 0)
