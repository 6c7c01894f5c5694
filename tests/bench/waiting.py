"""Whether a 202 takes longer while a thousand actions wait: accepting must never wait on acting."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import asyncpg

from tests.bench import rulebooks
from tests.bench.bench import Bench, median_ratio, settings
from tests.bench.figures import Figure, Goal, Reading, Unit, median_reading
from tests.bench.load import DISTINCT, Order, Telling
from tests.bench.processes import Failed, Served, daemon, load, sink, tell_once
from tests.system.daemon import TOKEN

ACTIONS = DISTINCT // 10
OTHERS = 1_000
"""Rules that match nothing."""


async def measure(bench: Bench) -> AsyncIterator[Figure]:
    bench.tell(f"waiting: 202s with and without {ACTIONS:,} actions that wait")
    async with sink() as front, _running(bench, _slow(front)) as busy, _running(bench) as quiet:
        own, floors = await bench.pairs(partial(_acks, bench, busy), partial(_acks, bench, quiet))
    ratio = median_ratio(own, floors)
    yield Figure(
        subject="waiting",
        what=f"p99 of a 202 while {ACTIONS:,} actions wait",
        unit=Unit.SECONDS,
        ours=median_reading(own),
        floor=median_reading(floors),
        floor_name="none waits",
        ratio=ratio,
        goal=Goal("within a quarter", ratio < 1.25),
    )


def _slow(front: Served) -> str:
    """A tenth of the alerts open an incident each, whose look is not answered."""
    return rulebooks.rule("slow", '{alertname=~"Bench00[01]."}') + rulebooks.unanswered_look(front.url)


@asynccontextmanager
async def _running(bench: Bench, *rules: str) -> AsyncIterator[Served]:
    """A daemon that was told of the alerts that will be told again."""
    async with bench.database() as dsn:
        folder = bench.new_folder("waiting")
        rulebook = rulebooks.write(folder / "rules", *rules, *rulebooks.other_rules(OTHERS))
        async with daemon(settings(folder, dsn, rulebook)) as served:
            await tell_once(served)
            await _incidents(dsn, ACTIONS if rules else 0)
            yield served


async def _incidents(dsn: str, wanted: int) -> None:
    connection = await asyncpg.connect(dsn)
    found = await connection.fetchval("SELECT count(*) FROM incidents WHERE phase = 'opened' AND wake_at <= now()")
    await connection.close()
    if found != wanted:
        raise Failed(f"{found:,} actions wait instead of {wanted:,}")


async def _acks(bench: Bench, served: Served) -> Reading:
    """A few senders that tell again what is known: nothing new opens."""
    order = Order(
        ports=(served.port,),
        token=TOKEN,
        connections=4,
        telling=Telling.AGAIN,
        seconds=bench.seconds,
        warm_up=0.5,
    )
    sent = await load(order)
    return Reading(sent.p99, sent.p50, sent.p99)
