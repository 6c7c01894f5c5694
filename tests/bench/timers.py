"""Ten thousand escalations due at the same second: how late each page is ordered, and how late it arrives.

Two floors, each batch by batch in one session: as many bare rows claimed, with nothing to do for them; and the rows
that an order leaves in our tables, written by bare SQL, with nothing decided, rendered or signed.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import asyncpg

from remediator.store.migrate import migrate
from tests.bench import rulebooks
from tests.bench.bench import Bench, distribution, settings, until_count
from tests.bench.figures import Figure, Goal, Reading, Unit, median_reading
from tests.bench.load import Order
from tests.bench.processes import Failed, Served, daemon, load, sink
from tests.system.daemon import TOKEN

FLOOR_BATCH = 500
HEAD_START = 4.0
"""Seconds for the rows to be there before they are due."""
PAGED_WITHIN = 180.0
LOOK_EVERY = 0.02
"""Seconds: what a lateness may be too high by."""

FIRST_PAGE_NEVER = "UPDATE escalations SET due_at = NULL"
CLONE_INCIDENTS = """INSERT INTO incidents (rule, rule_version, run_key, title, severity, mode, alert, target, phase)
    SELECT rule, rule_version, run_key || '/' || n, title, severity, mode, alert, target, 'handed_over'
    FROM incidents, generate_series(1, $1::int) n"""
CLONE_ESCALATIONS = """INSERT INTO escalations (incident_id, policy, severity, due_at)
    SELECT i.id, s.policy, s.severity, 'infinity' FROM incidents i, escalations s WHERE i.id <> s.incident_id"""
ALL_DUE = "UPDATE escalations SET due_at = to_timestamp($1::float) WHERE due_at = 'infinity'"
ORDERED = "SELECT count(*) FROM outbox WHERE kind = 'page'"

CLAIM = """UPDATE timers SET due_at = NULL WHERE id IN (
    SELECT id FROM timers WHERE due_at <= now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)"""

BARE_INCIDENTS = """INSERT INTO incidents (rule, rule_version, run_key, title, severity, mode, alert, phase)
    SELECT 'look', 'v1', n, 'Bench', 'sev1', 'act', '{}', 'handed_over' FROM generate_series(1, $1::int) n"""
BARE_ESCALATIONS = """INSERT INTO escalations (incident_id, policy, severity, due_at)
    SELECT id, '{}', '{}', now() FROM incidents"""
BARE_ORDERS = """WITH due AS (
    UPDATE escalations SET started_at = now(), last_step = 0, due_at = now() + interval '15 minutes'
    WHERE incident_id IN (
        SELECT incident_id FROM escalations WHERE due_at <= now() AND started_at IS NULL
        ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED)
    RETURNING incident_id
), told AS (
    INSERT INTO timeline (incident_id, kind, path, message)
    SELECT incident_id, 'page', 'escalate[0]', 'paging alice (console)' FROM due
)
INSERT INTO outbox (incident_id, dedup_key, kind, recipient, reach, notification, rule)
SELECT incident_id, incident_id || ':1:0:alice', 'page', 'alice', '[{"channel": "console", "address": ""}]',
    jsonb_build_object('incident', incident_id, 'body', repeat('x', 400)), 'look'
FROM due"""


async def measure(bench: Bench) -> AsyncIterator[Figure]:
    count = 1_000 if bench.is_quick else 10_000
    bench.tell(f"timers: {count:,} escalations due at the same second")
    floor, bare_orders = await _bare_claims(bench, count), await _bare_orders(bench, count)
    rounds = [await _escalations(bench, count) for _ in range(bench.rounds)]
    ordered, arrived = (median_reading(readings) for readings in zip(*rounds, strict=True))
    yield Figure(
        subject="timers",
        what=f"a page is ordered, {count:,} due at once",
        unit=Unit.SECONDS,
        ours=ordered,
        floor=floor,
        floor_name="bare claims",
        ratio=ordered.value / floor.value,
        goal=Goal("p99 under 200 ms", (ordered.p99 or 0) < 0.2),
    )
    yield Figure(
        subject="timers",
        what=f"a page is ordered, {count:,} due at once",
        unit=Unit.SECONDS,
        ours=ordered,
        floor=bare_orders,
        floor_name="bare rows of an order",
        ratio=ordered.value / bare_orders.value,
    )
    yield Figure(
        subject="timers",
        what=f"a page arrives, {count:,} due at once",
        unit=Unit.SECONDS,
        ours=arrived,
        floor=floor,
        floor_name="bare claims",
        ratio=arrived.value / floor.value,
    )


async def _bare_claims(bench: Bench, count: int) -> Reading:
    async with bench.database() as dsn:
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE TABLE timers (id bigint PRIMARY KEY, due_at timestamptz)")
        await connection.execute("CREATE INDEX timers_due ON timers (due_at) WHERE due_at IS NOT NULL")
        await connection.execute("INSERT INTO timers SELECT n, now() FROM generate_series(1, $1::int) n", count)
        late = await _batches(connection, CLAIM, count)
        await connection.close()
    return distribution(late)


async def _bare_orders(bench: Bench, count: int) -> Reading:
    async with bench.database() as dsn:
        await migrate(dsn)
        connection = await asyncpg.connect(dsn)
        await connection.execute(BARE_INCIDENTS, count)
        await connection.execute(BARE_ESCALATIONS)
        await connection.execute("ANALYZE")
        late = await _batches(connection, BARE_ORDERS, count)
        await connection.close()
    return distribution(late)


async def _batches(connection: "asyncpg.Connection[Any]", sql: str, count: int) -> Sequence[float]:
    """How late each row's batch was committed."""
    late: list[float] = []
    began = time.perf_counter()
    while len(late) < count:
        done = int((await connection.execute(sql, FLOOR_BATCH)).split()[-1])
        late += [time.perf_counter() - began] * done
    return late


async def _escalations(bench: Bench, count: int) -> tuple[Reading, Reading]:
    async with bench.database() as dsn, sink() as people:
        folder = bench.new_folder("timers")
        channels = f"channels:\n  console: {{ use: webhook, url: '{people.url}/page', secret: bench }}\n"
        rules = rulebooks.write(folder / "rules", rulebooks.looking_rule(), channels=channels)
        async with daemon(settings(folder, dsn, rules, SECRETS='{"bench": "signing"}')) as served:
            due = await _all_due_at_once(dsn, served, count)
            ordered = await _orders(dsn, due, count)
            arrived = await _arrivals(people, due, count)
    return distribution(ordered), distribution(arrived)


async def _all_due_at_once(dsn: str, served: Served, count: int) -> float:
    """One real incident, and so many copies of it; returns when all are due."""
    await load(Order(ports=(served.port,), token=TOKEN, connections=1, posts=1))
    await until_count(dsn, 1, "SELECT count(*) FROM incidents WHERE phase = 'handed_over'", within=10)
    connection = await asyncpg.connect(dsn)
    await connection.execute(FIRST_PAGE_NEVER)
    await connection.execute("DELETE FROM outbox")
    await connection.execute(CLONE_INCIDENTS, count)
    await connection.execute(CLONE_ESCALATIONS)
    await connection.execute("ANALYZE")
    due = float(int(time.time() + HEAD_START))
    await connection.execute(ALL_DUE, due)
    await connection.close()
    if time.time() > due:
        raise Failed(f"preparing {count:,} escalations took longer than {HEAD_START:.0f} s")
    return due


async def _orders(dsn: str, due: float, count: int) -> Sequence[float]:
    """How late another session saw each page in the outbox, in seconds: not before it was committed."""
    late: list[float] = []
    connection = await asyncpg.connect(dsn)
    while len(late) < count:
        seen: int = await connection.fetchval(ORDERED)
        lateness = time.time() - due
        if lateness > PAGED_WITHIN:
            raise Failed(f"{seen:,} of {count:,} pages were ordered within {PAGED_WITHIN:.0f} s")
        late += [lateness] * (seen - len(late))
        await asyncio.sleep(LOOK_EVERY)
    await connection.close()
    return late


async def _arrivals(people: Served, due: float, count: int) -> Sequence[float]:
    """How late each page was at its sink. Asked seldom: the answer costs the sink its time."""
    ends = time.time() + PAGED_WITHIN
    async with aiohttp.ClientSession() as session:
        while time.time() < ends:
            async with session.get(f"{people.url}/pages") as response:
                pages: dict[str, float] = await response.json()
            late = [at - due for at in pages.values() if at >= due]
            if len(late) >= count:
                return late
            await asyncio.sleep(1)
    raise Failed(f"{len(late):,} of {count:,} pages arrived within {PAGED_WITHIN:.0f} s")
