"""`remediator migrate`: bring the database up to this release, and say what was done."""

import asyncio
from pathlib import Path

import click

from remediator.cli.configuration import config_option, read_settings
from remediator.cli.exits import errors_told


@click.command()
@config_option
@click.option("--status", is_flag=True, help="Only say what would be applied.")
def command(config: Path | None, status: bool) -> None:
    """Apply the migrations in order, under an advisory lock. `serve` does the same at start."""
    from remediator.app import migrate_only

    settings = read_settings(config)
    with errors_told():
        names = asyncio.run(migrate_only(settings, only_status=status))
    for name in names:
        click.echo(f"{'pending' if status else 'applied'}  {name}")
    if not names:
        click.echo("up to date")
