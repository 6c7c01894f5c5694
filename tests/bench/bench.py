"""What every subject is given: where to work, on which PostgreSQL, how thoroughly, and how to tell what goes on."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import asyncpg
import click

from tests.bench.figures import Reading
from tests.bench.processes import Failed
from tests.fakes.postgres import database_dsn
from tests.system.daemon import TOKEN

Measure = Callable[[], Awaitable[Reading]]


@dataclass(frozen=True, slots=True)
class Bench:
    folder: Path
    dsn: str
    """Of the server; every measurement has a fresh database on it."""
    is_quick: bool
    began: float = field(default_factory=time.monotonic)

    @property
    def rounds(self) -> int:
        return 1 if self.is_quick else 3

    @property
    def seconds(self) -> float:
        """Of one slice of load."""
        return 1.0 if self.is_quick else 3.0

    def tell(self, what: str) -> None:
        click.echo(f"{time.monotonic() - self.began:5.0f} s  {what}", err=True)

    def new_folder(self, name: str) -> Path:
        made = self.folder / f"{name}-{uuid4().hex[:8]}"
        made.mkdir(parents=True)
        return made

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """A fresh, empty database, dropped afterwards."""
        name = f"bench_{uuid4().hex}"
        await self.execute(f"CREATE DATABASE {name}")
        try:
            yield database_dsn(self.dsn, name)
        finally:
            await self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    async def execute(self, sql: str) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def pairs(self, ours: Measure, floor: Measure) -> tuple[list[Reading], list[Reading]]:
        """One after the other, so that both of a pair see the same machine."""
        own: list[Reading] = []
        floors: list[Reading] = []
        for _ in range(self.rounds):
            for measure, readings in ((floor, floors), (ours, own)):
                await self.execute("CHECKPOINT")
                readings.append(await measure())
        return own, floors


async def until_count(dsn: str, count: int, sql: str, *, within: float) -> None:
    """`sql` gives one number; looks every twentieth of a second until it is large enough."""
    connection = await asyncpg.connect(dsn)
    try:
        async with asyncio.timeout(within):
            while await connection.fetchval(sql) < count:  # noqa: ASYNC110  # it happens in another process
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise Failed(f"not {count:,} within {within:.0f} s: {sql}") from None
    finally:
        await connection.close()


def distribution(seconds: Sequence[float]) -> Reading:
    """Its value is the 99th percentile: a person feels the slow ones."""
    ordered = sorted(seconds)
    p50, p99 = ordered[len(ordered) // 2], ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)]
    return Reading(p99, p50, p99, ordered[-1])


def median_ratio(ours: Sequence[Reading], floors: Sequence[Reading]) -> float:
    return statistics.median(own.value / floor.value for own, floor in zip(ours, floors, strict=True))


def settings(folder: Path, dsn: str, rules: Path, **more: str) -> dict[str, str]:
    """The daemon's environment: it may act, and knows one sender. `more` as `KUBERNETES__ENABLED="true"`."""
    return {
        "DATABASE_URL": dsn,
        "REMEDIATOR_MODE": "act",
        "REMEDIATOR_DATA_DIR": str(folder / "data"),
        "REMEDIATOR_RULES_DIR": str(rules),
        "REMEDIATOR_WEBHOOKS__TOKENS": f'{{"alertmanager": ["{TOKEN}"]}}',
    } | {f"REMEDIATOR_{name}": value for name, value in more.items()}
