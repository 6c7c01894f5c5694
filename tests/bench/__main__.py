"""`make bench`: how fast, next to its floor in the same run. Ratios carry over to other machines, figures do not."""

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import click
import msgspec
import uvloop

from remediator.cli.tables import print_table
from remediator.store.embedded import EmbeddedPostgres
from tests.bench import burst, footprint, intake, latency, matching, pipeline, startup, timers, waiting
from tests.bench.bench import Bench
from tests.bench.figures import Figure, table
from tests.bench.processes import Failed

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
@click.option("--quick", is_flag=True, help="About a minute: fewer cases, one round each.")
@click.option("-o", "output", type=click.Choice(["table", "json"]), default="table")
def main(only: Sequence[str], output: str, *, quick: bool) -> None:
    """Measures the daemon, each figure beside its floor."""
    click.echo(f"{os.cpu_count()} cores, shared by the load, the daemon and PostgreSQL", err=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            figures = runner.run(measured(only or list(SUBJECTS), is_quick=quick))
        except Failed as error:
            sys.exit(f"bench: {error}")
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(figures)))
    else:
        print_table(*table(figures))


async def measured(subjects: Sequence[str], *, is_quick: bool) -> list[Figure]:
    with tempfile.TemporaryDirectory(prefix="remediator-bench-") as name:
        server = await EmbeddedPostgres.start(Path(name) / "postgresql")
        try:
            bench = Bench(Path(name), server.dsn, is_quick)
            return [figure for subject in subjects async for figure in SUBJECTS[subject](bench)]
        finally:
            await server.stop()


if __name__ == "__main__":
    main()
