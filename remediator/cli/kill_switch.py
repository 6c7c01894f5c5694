"""`remediator kill-switch`: one command stops every write on every replica."""

import json
from typing import Any

import click

from remediator.cli.client import Api, api_options


@click.command()
@click.argument("state", type=click.Choice(["on", "off", "show"]), default="show")
@click.option("--reason", default="", help="Shown with every fix that is not done because of it.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
@api_options
def command(api: Api, state: str, reason: str, output: str) -> None:
    """Stop (on) or allow (off) all writes to the world; pages go on either way."""
    switch = _asked(api, state, reason)
    if output == "json":
        click.echo(json.dumps(switch))
        return
    told = f"on, by {switch['by']}: {switch['reason'] or 'no reason given'}" if switch["on"] else "off"
    click.echo(f"kill switch: {told}")


def _asked(api: Api, state: str, reason: str) -> dict[str, Any]:
    if state == "show":
        switch: dict[str, Any] = api.get("/api/v1/kill-switch", having="on")
    else:
        switch = api.put("/api/v1/kill-switch", {"on": state == "on", "reason": reason}, having="on")
    return switch
