"""From `remediator serve` to a ready port: with thousands of rules, and with a PostgreSQL of its own to start first."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import yaml

from remediator.rules.loader import load_rules
from remediator.store.embedded import EmbeddedPostgres
from tests.bench import rulebooks
from tests.bench.bench import Bench, median_ratio, settings
from tests.bench.figures import Figure, Goal, Reading, Unit, median_reading
from tests.bench.processes import daemon_process, ready

RULES = 5_000
FEW = 10


async def measure(bench: Bench) -> AsyncIterator[Figure]:
    count = RULES // 10 if bench.is_quick else RULES
    many, few = _rules(bench, count), _rules(bench, FEW)
    bench.tell(f"startup: reading {count:,} rules")
    yield await _reading(bench, many, count)
    bench.tell(f"startup: until ready with {count:,} rules")
    yield await _until_ready(bench, many, few, count)
    bench.tell("startup: cold, with the embedded PostgreSQL")
    yield await _cold(bench, few)


async def _reading(bench: Bench, folder: Path, count: int) -> Figure:
    own, floors = await bench.pairs(partial(_load, folder), partial(_parse, folder))
    return Figure(
        subject="startup",
        what=f"{count:,} rules read and compiled",
        unit=Unit.SECONDS,
        ours=median_reading(own),
        floor=median_reading(floors),
        floor_name="their YAML alone",
        ratio=median_ratio(own, floors),
    )


async def _until_ready(bench: Bench, many: Path, few: Path, count: int) -> Figure:
    """The database has seen these rules before, as in every start but the first."""
    async with bench.database() as dsn:
        work = bench.new_folder("startup")
        large, small = settings(work, dsn, many), settings(work, dsn, few)
        await _start(large)
        own, floors = await bench.pairs(partial(_start, large), partial(_start, small))
    ours = median_reading(own)
    return Figure(
        subject="startup",
        what=f"until ready, {count:,} rules",
        unit=Unit.SECONDS,
        ours=ours,
        floor=median_reading(floors),
        floor_name=f"{FEW} rules",
        ratio=median_ratio(own, floors),
        goal=Goal("under 3 s", ours.value < 3),
    )


async def _cold(bench: Bench, rules: Path) -> Figure:
    """The second start of a data folder: the first one creates the database cluster, once."""
    folder = bench.new_folder("cold")
    environment = settings(folder, "", rules)
    await _start(environment)
    own, floors = await bench.pairs(
        partial(_start, environment), partial(_start_postgres, folder / "data" / "postgresql")
    )
    ours = median_reading(own)
    return Figure(
        subject="startup",
        what="cold, with the embedded PostgreSQL",
        unit=Unit.SECONDS,
        ours=ours,
        floor=median_reading(floors),
        floor_name="that PostgreSQL alone",
        ratio=median_ratio(own, floors),
        goal=Goal("under 2.5 s", ours.value < 2.5),
    )


async def _start(environment: dict[str, str]) -> Reading:
    """Seconds until ready; then it is asked to stop, so that its PostgreSQL stops too."""
    began = time.perf_counter()
    process, port = await daemon_process(environment)
    try:
        await ready(process, port, "remediator serve")
        return Reading(time.perf_counter() - began)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()


async def _start_postgres(folder: Path) -> Reading:
    began = time.perf_counter()
    server = await EmbeddedPostgres.start(folder)
    took = time.perf_counter() - began
    await server.stop()
    return Reading(took)


async def _load(folder: Path) -> Reading:
    return Reading(await asyncio.to_thread(_seconds, partial(load_rules, folder)))


async def _parse(folder: Path) -> Reading:
    return Reading(await asyncio.to_thread(_seconds, partial(_parse_all, folder)))


def _parse_all(folder: Path) -> None:
    for path in folder.rglob("*.yaml"):
        yaml.load(path.read_text(), Loader=yaml.CSafeLoader)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _rules(bench: Bench, count: int) -> Path:
    """Each as long as real ones are: a target, a look, a fix and its proof."""
    return rulebooks.write(bench.new_folder("rules"), *rulebooks.whole_rules(count))
