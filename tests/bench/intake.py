"""Durable alerts a second, one to 20,000 a POST, beside the same handler without our logic and the bare insert.

Every 202 counts, and nothing but a 202 does.
"""

import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import asyncpg
import msgspec

from tests.bench import alerts, rulebooks
from tests.bench.bench import Bench, median_ratio, settings
from tests.bench.figures import Figure, Goal, Reading, Unit, duration, median_reading
from tests.bench.floor import TABLE, RawDelivery, insert
from tests.bench.load import Order, Sent, Telling
from tests.bench.processes import Served, daemon, floor, load, sink, tell_once
from tests.system.daemon import TOKEN

RULES = 1_000
SENDERS = {1: 16, 10: 16, 100: 8, 1_000: 4}
"""Connections, by how many alerts a POST carries."""
BIG_BODIES = {1_000: 0.1, 20_000: 2.0}
"""One sender, one body after the other: within how many seconds the 202 must be there."""
WARM_UP = 0.3


class Traffic(StrEnum):
    UNMATCHED = "new alerts, no rule"
    AGAIN = "alerts told again"
    JOINING = "new alerts, join 200 incidents"
    OPENING = "new alerts, each opens an incident"

    @property
    def telling(self) -> Telling:
        return Telling.AGAIN if self is Traffic.AGAIN else Telling.NEW


@dataclass(frozen=True, slots=True)
class Case:
    traffic: Traffic
    alerts: int
    daemons: int = 1

    @property
    def name(self) -> str:
        several = f", {self.daemons} processes" if self.daemons > 1 else ""
        return f"{self.alerts:,} a POST, {self.traffic}{several}"


def cases(bench: Bench) -> list[Case]:
    if bench.is_quick:
        return [Case(Traffic.AGAIN, 1), Case(Traffic.UNMATCHED, 100)]
    plain = [Case(traffic, size) for traffic in (Traffic.AGAIN, Traffic.UNMATCHED) for size in SENDERS]
    ruled = [Case(traffic, size) for traffic in (Traffic.JOINING, Traffic.OPENING) for size in (1, 100)]
    return plain + ruled + [Case(Traffic.AGAIN, size, daemons=2) for size in (1, 100)]


async def measure(bench: Bench) -> AsyncIterator[Figure]:
    for case in cases(bench):
        bench.tell(f"intake: {case.name}")
        yield await _throughput(bench, case)
    for size in (1_000,) if bench.is_quick else BIG_BODIES:
        bench.tell(f"intake: bodies of {size:,} alerts, one after the other")
        yield await _big_bodies(bench, size)


async def _throughput(bench: Bench, case: Case) -> Figure:
    order = Order(
        ports=(),
        token=TOKEN,
        alerts=case.alerts,
        connections=SENDERS[case.alerts],
        telling=case.traffic.telling,
        seconds=bench.seconds,
        warm_up=WARM_UP,
    )
    async with _floors(bench, case.daemons) as floors, _daemons(bench, case) as daemons:
        if case.traffic is Traffic.AGAIN:
            await tell_once(daemons[0])
        own, other = await bench.pairs(
            partial(_slice, order, [d.port for d in daemons]), partial(_slice, order, [f.port for f in floors])
        )
    ratio = median_ratio(own, other)
    wanted = case.alerts in (1, 100) and case.traffic is not Traffic.OPENING
    return Figure(
        subject="intake",
        what=case.name,
        unit=Unit.ALERTS,
        ours=median_reading(own),
        floor=median_reading(other),
        ratio=ratio,
        bare=await _bare_insert(bench, case.alerts * order.connections),
        goal=Goal("at least 60 %", ratio >= 0.6) if wanted else None,
    )


async def _big_bodies(bench: Bench, size: int) -> Figure:
    """The whole time from the first byte to the 202, body by body."""
    posts = 3 if bench.is_quick else 30_000 // size + 4
    order = Order(ports=(), token=TOKEN, alerts=size, connections=1, posts=posts)
    async with _floors(bench, 1) as floors, _daemons(bench, Case(Traffic.UNMATCHED, size)) as daemons:
        own, other = await bench.pairs(
            partial(_ack, order, [d.port for d in daemons]), partial(_ack, order, [f.port for f in floors])
        )
    ours = median_reading(own)
    within = BIG_BODIES[size]
    return Figure(
        subject="intake",
        what=f"time to 202 of {size:,} alerts in one body",
        unit=Unit.SECONDS,
        ours=ours,
        floor=median_reading(other),
        ratio=median_ratio(own, other),
        goal=Goal(f"p99 under {duration(within)}", (ours.p99 or 0) < within),
    )


async def _slice(order: Order, ports: Sequence[int]) -> Reading:
    sent = await load(msgspec.structs.replace(order, ports=tuple(ports)))
    return Reading(sent.rate, sent.p50, sent.p99)


async def _ack(order: Order, ports: Sequence[int]) -> Reading:
    sent: Sent = await load(msgspec.structs.replace(order, ports=tuple(ports)))
    return Reading(sent.p50, sent.p50, sent.p99)


@asynccontextmanager
async def _floors(bench: Bench, count: int) -> AsyncIterator[list[Served]]:
    async with bench.database() as dsn, AsyncExitStack() as stack:
        yield [await stack.enter_async_context(floor(dsn)) for _ in range(count)]


@asynccontextmanager
async def _daemons(bench: Bench, case: Case) -> AsyncIterator[list[Served]]:
    async with bench.database() as dsn, sink() as front, AsyncExitStack() as stack:
        folder = bench.new_folder("intake")
        rules = rulebooks.write(folder / "rules", *_rules(case.traffic, front.url))
        environment = settings(folder, dsn, rules)
        yield [await stack.enter_async_context(daemon(environment)) for _ in range(case.daemons)]


def _rules(traffic: Traffic, front: str) -> Iterator[str]:
    if traffic in (Traffic.UNMATCHED, Traffic.AGAIN):
        yield from rulebooks.other_rules(RULES)
        return
    yield from rulebooks.rules_that_match(front, per_target=traffic is Traffic.JOINING)
    yield from rulebooks.other_rules(RULES - alerts.VARIETY)


async def _bare_insert(bench: Bench, rows: int) -> float:
    """Rows a second by one connection: the floor's insert in batches of so many rows, and nothing around it."""
    batch = msgspec.json.decode(alerts.body(range(rows)), type=RawDelivery).alerts
    async with bench.database() as dsn:
        connection = await asyncpg.connect(dsn)
        await connection.execute(TABLE)
        rates = []
        for _ in range(bench.rounds):
            began, done = time.perf_counter(), 0
            while time.perf_counter() - began < 1:
                await insert(connection, batch)
                done += rows
            rates.append(done / (time.perf_counter() - began))
        await connection.close()
    return statistics.median(rates)
