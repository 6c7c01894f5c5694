"""`remediator deliveries`: what senders sent, word for word, for as long as `retention.raw_days` says."""

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from remediator.cli.configuration import config_option, read_settings
from remediator.cli.exits import errors_told
from remediator.cli.tables import age, one_line, print_table, size

if TYPE_CHECKING:
    from remediator.domain.alert import Rejected
    from remediator.settings import Settings
    from remediator.store.bodies import KeptDelivery

_COLUMNS = ("id", "received", "source", "alerts", "rejected", "left out", "kept as")


@click.group()
def command() -> None:
    """What senders sent: each webhook body as it came, and what could not be read of it."""


@command.command("list")
@click.option("-n", "--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--rejected", "rejected_only", is_flag=True, help="Only those of which something could not be read.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@config_option
def list_(config: Path | None, output: str, limit: int, *, rejected_only: bool) -> None:
    """The newest first."""
    settings = read_settings(config)
    with errors_told():
        found = asyncio.run(_latest(settings, limit=limit, rejected_only=rejected_only))
    if output == "json":
        click.echo(json.dumps([_document(one) for one in found], indent=2))
        return
    print_table(_COLUMNS, [_cells(one) for one in found])


@command.command()
@click.argument("delivery", type=int)
@config_option
def show(config: Path | None, delivery: int) -> None:
    """Write a body to standard output byte for byte; what could not be read of it, and why, goes to standard error."""
    settings = read_settings(config)
    with errors_told():
        body, rejected = asyncio.run(_sent(settings, delivery))
    click.echo(body, nl=False)
    for one in rejected:
        where = f"alert {one.position}" if one.position >= 0 else "the body"
        click.echo(one_line(f"{where} could not be read: {one.reason}"), err=True)


async def _latest(settings: "Settings", *, limit: int, rejected_only: bool) -> "list[KeptDelivery]":
    from remediator.app import reading
    from remediator.store import bodies

    async with reading(settings) as connection:
        return await bodies.latest(connection, limit=limit, rejected_only=rejected_only)


async def _sent(settings: "Settings", delivery: int) -> "tuple[bytes, list[Rejected]]":
    from remediator.app import reading
    from remediator.store import bodies

    async with reading(settings) as connection:
        return await bodies.sent(connection, delivery)


def _cells(kept: "KeptDelivery") -> tuple[object, ...]:
    received = age(kept.received_at.isoformat())
    return kept.id, received, kept.source, kept.alerts, kept.rejected, kept.truncated, size(kept.bytes)


def _document(kept: "KeptDelivery") -> dict[str, object]:
    return {
        "id": kept.id,
        "received_at": kept.received_at.isoformat(),
        "source": kept.source,
        "alerts": kept.alerts,
        "rejected": kept.rejected,
        "truncated": kept.truncated,
        "bytes": kept.bytes,
    }
