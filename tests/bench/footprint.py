"""What the daemon costs while nothing happens, and what it keeps of the memory that a storm took."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.bench import rulebooks
from tests.bench.bench import Bench, settings
from tests.bench.figures import Figure, Goal, Reading, Unit
from tests.bench.load import Order
from tests.bench.processes import Served, daemon, floor, load
from tests.fakes.kubernetes import FakeCluster
from tests.system.daemon import TOKEN

RULES = 100
BIG_BODY = 20_000
SETTLES = 2.0
STORM = 6.0
MOST_IDLE_BYTES = 120e6
MOST_IDLE_PERCENT = 1.0


async def measure(bench: Bench) -> AsyncIterator[Figure]:
    seconds = 3.0 if bench.is_quick else 10.0
    for with_kubernetes in (False,) if bench.is_quick else (False, True):
        where = "with Kubernetes" if with_kubernetes else "without Kubernetes"
        bench.tell(f"footprint: idle for {seconds:.0f} s, {where}")
        async with _running(bench, with_kubernetes=with_kubernetes) as served:
            yield _memory(f"idle, {where}", served, Goal("under 120 MB", served.resident_bytes() < MOST_IDLE_BYTES))
            yield await _idle(f"idle, {where}", served, seconds)
    bench.tell(f"footprint: after a body of {BIG_BODY:,} alerts, and after {STORM:.0f} s of load")
    async with _running(bench) as served, bench.database() as dsn, floor(dsn) as bare:
        for process in (served, bare):
            await _tell_big(process)
        yield _memory(f"after {BIG_BODY:,} alerts in one body", served, floor=bare)
        for process in (served, bare):
            await _storm(process)
        yield _memory(f"after {STORM:.0f} s of load", served, floor=bare)


@asynccontextmanager
async def _running(bench: Bench, *, with_kubernetes: bool = False) -> AsyncIterator[Served]:
    """Ready, and settled."""
    async with FakeCluster.serve() as cluster, bench.database() as dsn:
        folder = bench.new_folder("footprint")
        rules = rulebooks.write(folder / "rules", *rulebooks.whole_rules(RULES))
        environment = settings(folder, dsn, rules)
        if with_kubernetes:
            kubeconfig = str(cluster.write_kubeconfig(folder / "kubeconfig"))
            environment |= settings(folder, dsn, rules, KUBERNETES__ENABLED="true", KUBERNETES__KUBECONFIG=kubeconfig)
        async with daemon(environment) as served:
            await asyncio.sleep(SETTLES)
            yield served


def _memory(what: str, served: Served, goal: Goal | None = None, floor: Served | None = None) -> Figure:
    ours = served.resident_bytes()
    bare = floor.resident_bytes() if floor else None
    return Figure(
        subject="footprint",
        what=f"resident memory {what}",
        unit=Unit.BYTES,
        ours=Reading(ours),
        floor=Reading(bare) if bare else None,
        ratio=ours / bare if bare else None,
        goal=goal,
    )


async def _idle(what: str, served: Served, seconds: float) -> Figure:
    before = served.cpu_seconds()
    await asyncio.sleep(seconds)
    percent = (served.cpu_seconds() - before) / seconds * 100
    return Figure(
        subject="footprint",
        what=f"processor {what}",
        unit=Unit.PERCENT,
        ours=Reading(percent),
        goal=Goal("under 1 %", percent < MOST_IDLE_PERCENT),
    )


async def _tell_big(served: Served) -> None:
    await load(Order(ports=(served.port,), token=TOKEN, alerts=BIG_BODY, connections=1, posts=1))
    await asyncio.sleep(SETTLES)


async def _storm(served: Served) -> None:
    await load(Order(ports=(served.port,), token=TOKEN, alerts=100, connections=8, seconds=STORM / 2))
    await load(Order(ports=(served.port,), token=TOKEN, alerts=1, connections=16, seconds=STORM / 2))
    await asyncio.sleep(SETTLES)
