"""The long run: seeds side by side on one PostgreSQL server, and what became of each."""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tests.faults.database import Server
from tests.faults.drawing import draw
from tests.faults.figures import Figures, show
from tests.faults.inbox import Post
from tests.faults.nursery import Nursery
from tests.faults.receipts import environment_for, pour, stored
from tests.faults.scenario import MARKS, Scenario
from tests.faults.violations import Kind
from tests.faults.world import Stage, Verdict, play

EACH_MARK_AT_LEAST = 3
"""Times, in a run that is long enough to ask for it."""
_ASKED_OF = 8 * len(MARKS)
"""Seeds: in eight turns no mark is struck so rarely by chance, though some seeds are over before they reach theirs."""
BITE = (
    "alerts known to be silenced",
    "intents nobody can tell",
    "alerts found by polling",
    "alerts whose rule came later",
    "starts refused for want of rules",
)
"""Figures of the trouble that is drawn often and comes to something seldom: at nought nothing of it was tried."""
_BITE_IN = 500
"""Seeds, in which each does."""
KILLS_WHILE_POURING = 5
TOLD_EVERY = 25
"""Seeds, where nobody sees a progress line."""
_KEPT = Path(".faults")
T = TypeVar("T")


@dataclass(slots=True)
class Report:
    figures: Figures = field(default_factory=Figures)
    failed: list[Verdict] = field(default_factory=list)

    def add(self, verdict: Verdict) -> None:
        self.figures.add(verdict.figures)
        if verdict.violations:
            self.failed.append(verdict)
        for violation in verdict.violations:
            self.figures.counts[violation.kind] += 1


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[Stage]:
    """PostgreSQL apart from `folder`: it runs as another user, whom pytest shuts out of its own."""
    with tempfile.TemporaryDirectory(prefix="remediator-faults-") as apart:
        async with Nursery.open() as nursery, Server.running(Path(apart) / "data") as server, Post.open() as post:
            yield Stage(nursery, server, post, folder)


async def run(seeds: Sequence[int], folder: Path, *, at_once: int, told: Callable[[Verdict], None]) -> Report:
    """Plays every seed, so many at once; `told` hears of each as it is over."""
    report, room = Report(), asyncio.Semaphore(at_once)
    async with stage(folder) as shared:

        async def one(seed: int) -> None:
            async with room:
                verdict = await play(draw(seed), shared)
            report.add(verdict)
            told(verdict)

        async with asyncio.TaskGroup() as group:
            for seed in seeds:
                group.create_task(one(seed))
    if report.figures.counts["seeds"] != len(seeds):
        raise RuntimeError(f"{len(seeds)} seeds were asked for, {report.figures.counts['seeds']} were played")
    return report


async def pour_and_count(folder: Path, alerts: int) -> Figures:
    """kill -9 while so many single alerts come in, each time right after a 2xx."""
    if not alerts:
        return Figures()
    async with Server.running(folder / "postgresql") as server:
        dsn = await server.create("receipts")
        receipts = await pour(environment_for(folder, dsn), alerts=alerts, kills=KILLS_WHILE_POURING)
        kept = await stored(dsn)
    lost = receipts.accepted - kept
    return Figures(counts=Counter({"alerts answered 2xx under kill -9": len(receipts.accepted), Kind.LOST: len(lost)}))


@click.command()
@click.option("--seeds", default=500, show_default=True, help="How many.")
@click.option("--seed", default=0, show_default=True, help="The first one.")
@click.option("--at-once", default=4 * (os.cpu_count() or 2), show_default=True, help="How many side by side.")
@click.option("--alerts", default=0, show_default=True, help="Beforehand, so many single alerts under kill -9.")
@click.option("--keep", is_flag=True, help=f"Keep the logs of every seed in {_KEPT}/, not only of those that failed.")
def main(seeds: int, seed: int, at_once: int, alerts: int, keep: bool) -> None:
    """Kills, freezes and confuses real daemons, seed by seed, and looks from outside for what is lost or doubled."""
    console, began = Console(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="remediator-faults-") as name, _progress(console) as progress:
        poured = asyncio.run(_until_terminated(pour_and_count(Path(name) / "receipts", alerts)))
        bar = progress.add_task("seeds", total=seeds, failed=0)
        report_so_far = Report()

        def told(verdict: Verdict) -> None:
            report_so_far.add(verdict)
            progress.update(bar, advance=1, failed=len(report_so_far.failed))
            played = report_so_far.figures.counts["seeds"]
            if not console.is_terminal and played % TOLD_EVERY == 0:
                click.echo(f"{played} of {seeds} seeds, {len(report_so_far.failed)} failed", err=True)
            if verdict.violations:
                progress.console.print(describe(verdict), markup=False, highlight=False, soft_wrap=True)
            if verdict.violations or keep:
                _keep(verdict)

        playing = run(range(seed, seed + seeds), Path(name), at_once=at_once, told=told)
        report = asyncio.run(_until_terminated(playing))
    report.figures.add(poured)
    show(report.figures, console, title=f"{seeds} seeds from {seed} in {time.monotonic() - began:.0f} s")
    complaints = complaints_about(report, seeds=seeds)
    for complaint in complaints:
        console.print(complaint, style="red")
    if not complaints:
        console.print("nothing lost, nothing doubled", style="green")
    sys.exit(bool(complaints))


async def _until_terminated(running: Coroutine[None, None, T]) -> T:
    """SIGTERM ends it as Ctrl-C does: with everything stopped that was started."""
    task = asyncio.ensure_future(running)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def complaints_about(report: Report, *, seeds: int) -> list[str]:
    """Why a run is not to be trusted; a mark that was hardly struck is as bad as a seed that failed, and so is trouble
    that came to nothing."""
    complaints = []
    if report.figures.counts[Kind.LOST] and not report.failed:
        complaints.append("alerts that were answered with a 2xx are lost")
    if report.failed:
        numbers = " ".join(str(verdict.scenario.seed) for verdict in report.failed)
        complaints.append(f"failed: {numbers}; again: python -m tests.faults --seeds 1 --seed N")
    rare = report.figures.struck_less_than(EACH_MARK_AT_LEAST) if seeds >= _ASKED_OF else []
    if rare:
        complaints.append(f"struck less than {EACH_MARK_AT_LEAST} times at: {', '.join(rare)}")
    never = [name for name in BITE if not report.figures.counts[name]] if seeds >= _BITE_IN else []
    if never:
        complaints.append(f"in {seeds} seeds there were no {', no '.join(never)}")
    return complaints


def describe(verdict: Verdict) -> str:
    lines = [f"seed {verdict.scenario.seed}", *_drawn(verdict.scenario), *map(str, verdict.violations)]
    return "\n  ".join(lines)


def _drawn(scenario: Scenario) -> list[str]:
    return [f"{part.name} = {getattr(scenario, part.name)}" for part in fields(scenario)]


def _keep(verdict: Verdict) -> None:
    """Logs, and what was drawn and found; the database itself goes."""
    folder = _KEPT / f"seed-{verdict.scenario.seed}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(verdict.folder, folder, ignore=shutil.ignore_patterns("postgresql"), ignore_dangling_symlinks=True)
    (folder / "verdict").write_text("\n".join((describe(verdict), "", *verdict.timeline)) + "\n")


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("failed: {task.fields[failed]}"),
        TimeElapsedColumn(),
        console=console,
    )
