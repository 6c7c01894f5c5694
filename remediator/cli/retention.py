"""`remediator retention`: what is kept, for how long, how big it is, what the next round would remove, and
what the last one failed at."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from remediator.cli.configuration import config_option, read_settings
from remediator.cli.exits import errors_told
from remediator.cli.tables import age, print_table, size

if TYPE_CHECKING:
    from remediator.store.retention import Kept
    from remediator.store.rounds import LastRound


@click.command()
@config_option
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def command(config: Path | None, output: str) -> None:
    """Tell what is kept and what would go by the settings `retention.*`. Removes nothing: `serve` does, in its time."""
    from remediator.app import report_retention

    settings = read_settings(config)
    with errors_told():
        kept, last_round = asyncio.run(report_retention(settings))
    _tell_failures(last_round)
    if output == "json":
        click.echo(json.dumps([_document(line) for line in kept], indent=2))
        return
    print_table(
        ("what", "kept", "rows (about)", "oldest", "size", "would go"),
        [
            (
                k.what,
                _days(k.kept_for),
                k.rows,
                age(k.oldest.isoformat()) if k.oldest else "-",
                size(k.bytes),
                k.would_go,
            )
            for k in kept
        ],
    )


def _tell_failures(last_round: "LastRound") -> None:
    """Beside what programs read."""
    if last_round.failures:
        ended = f"the last that did ended at {last_round.ended.isoformat()}" if last_round.ended else "none ever did"
        click.echo(f"The last round of clearing up did not come to its end ({ended}):", err=True)
    for step, failure in last_round.failures.items():
        click.echo(f"  {step}: {failure.why}: {failure.error}", err=True)


def _document(kept: "Kept") -> dict[str, object]:
    return {
        "what": kept.what,
        "kept_days": kept.kept_for.days if kept.kept_for is not None else "forever",
        "rows": kept.rows,
        "oldest": kept.oldest.isoformat() if kept.oldest else None,
        "bytes": kept.bytes,
        "would_go": kept.would_go,
    }


def _days(kept_for: timedelta | None) -> str:
    return f"{kept_for.days}d" if kept_for is not None else "forever"
