"""`make bench`: how fast, next to its floor in the same run. Ratios carry over to other machines, figures do not."""

import asyncio
import os
import resource
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import click
import msgspec
import uvloop

from remediator.cli.tables import print_table
from remediator.store.embedded import EmbeddedPostgres
from tests.bench import burst, document, footprint, intake, latency, matching, pipeline, startup, timers, waiting
from tests.bench.bench import Bench
from tests.bench.figures import Figure, table
from tests.bench.processes import Failed
from tests.fakes.folders import open_to_all

SUBJECTS: Mapping[str, Callable[[Bench], AsyncIterator[Figure]]] = {
    "intake": intake.measure,
    "waiting": waiting.measure,
    "burst": burst.measure,
    "matching": matching.measure,
    "startup": startup.measure,
    "pipeline": pipeline.measure,
    "latency": latency.measure,
    "timers": timers.measure,
    "footprint": footprint.measure,
}


@click.command()
@click.option("--only", type=click.Choice(list(SUBJECTS)), multiple=True, help="These subjects; all where left out.")
@click.option("--quick", is_flag=True, help="A minute or two: fewer cases, one round each.")
@click.option("--write", is_flag=True, help="Writes docs/bench.md and docs/bench.svg too.")
@click.option("-o", "output", type=click.Choice(["table", "json"]), default="table")
def main(only: Sequence[str], output: str, *, quick: bool, write: bool) -> None:
    """Measures the daemon, each figure beside its floor."""
    if write and (only or quick):
        raise click.UsageError("the page shows a whole run: --write goes with neither --only nor --quick")
    click.echo(f"{os.cpu_count()} cores, shared by the load, the daemon and PostgreSQL", err=True)
    _allow_many_connections()
    figures: list[Figure] = []
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(measure(only or list(SUBJECTS), figures, is_quick=quick))
        except Failed as error:
            show(figures, output)
            sys.exit(f"bench: {error}")
    show(figures, output)
    if write:
        document.write(figures, list(SUBJECTS))
        click.echo("wrote docs/bench.md and docs/bench.svg", err=True)


def show(figures: Sequence[Figure], output: str) -> None:
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(figures)))
        return
    print_table(*table(figures))
    click.echo("\nRatios carry over to other machines; absolute figures are for orientation.", err=True)


async def measure(subjects: Sequence[str], figures: list[Figure], *, is_quick: bool) -> None:
    """Adds to `figures` as they are found: what is known stays known where a later one fails."""
    with tempfile.TemporaryDirectory(prefix="remediator-bench-") as name:
        server = await EmbeddedPostgres.start(open_to_all(name) / "postgresql")
        try:
            bench = Bench(Path(name), server.dsn, is_quick)
            for subject in subjects:
                async for figure in SUBJECTS[subject](bench):
                    figures.append(figure)  # noqa: PERF401  # one at a time, so that a failure leaves the others
        finally:
            await server.stop()


def _allow_many_connections() -> None:
    """As many as the machine allows; the processes of the run inherit it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    main()
