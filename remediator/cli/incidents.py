"""`remediator incidents`: list, show, acknowledge, resolve, approve."""

import json
from typing import Any
from urllib.parse import urlencode

import click

from remediator.cli.client import Api, api_options
from remediator.cli.tables import age, one_line, print_table

_PATH_WIDTH = 17
_output = click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)


class _IncidentNumber(click.ParamType[int]):
    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if not (str(value).isascii() and str(value).isdecimal() and 0 < len(str(value)) <= 18):
            self.fail(
                f"{value!r} is no incident's number, such as 7: `remediator incidents list` shows them", param, ctx
            )
        return int(value)


_number = click.argument("number", type=_IncidentNumber())


@click.group()
def command() -> None:
    """What happened, what is being done, and your part in it."""


@command.command("list")
@click.option("--status", type=click.Choice(["triggered", "acknowledged", "resolved"]))
@click.option("--limit", type=click.IntRange(1, 1_000), default=50, show_default=True)
@_output
@api_options
def list_(api: Api, status: str | None, limit: int, output: str) -> None:
    """The newest incidents first."""
    query = {"limit": limit} | ({"status": status} if status else {})
    found = api.get(f"/api/v1/incidents?{urlencode(query)}", having="incidents")["incidents"]
    if output == "json":
        _print_json(found)
        return
    print_table(
        ("id", "status", "severity", "automation", "target", "age", "title"),
        [
            (i["id"], i["status"], i["severity"], i["phase"], i["target"] or "-", age(i["opened_at"]), i["title"])
            for i in found
        ],
    )


@command.command()
@_number
@_output
@api_options
def show(api: Api, number: int, output: str) -> None:
    """One incident with its whole timeline."""
    incident = api.get(f"/api/v1/incidents/{number}", having="timeline")
    if output == "json":
        _print_json(incident)
        return
    _print_incident(incident)
    day = ""
    for entry in incident["timeline"]:
        if entry["at"][:10] != day:
            day = entry["at"][:10]
            click.secho(f"{day} UTC", dim=True)
        path = click.style(entry["path"].ljust(_PATH_WIDTH), dim=True)
        kind = click.style(entry["kind"].ljust(12), bold=True)
        click.echo(f"{entry['at'][11:19]}  {kind} {path} {one_line(entry['message'])}")


@command.command()
@_number
@_output
@api_options
def ack(api: Api, number: int, output: str) -> None:
    """Acknowledge: stops the escalation, not the fix."""
    _print_answer(api.post(f"/api/v1/incidents/{number}/acknowledge", {}, having="status"), output)


@command.command()
@_number
@click.option("--note", default="", help="What solved it; goes into the timeline.")
@_output
@api_options
def resolve(api: Api, number: int, note: str, output: str) -> None:
    """Close it by hand: automation and escalation stop."""
    _print_answer(api.post(f"/api/v1/incidents/{number}/resolve", {"note": note}, having="status"), output)


@command.command()
@_number
@click.option("--plan", required=True, help="The digest of the plan you read; another plan is refused.")
@_output
@api_options
def approve(api: Api, number: int, plan: str, output: str) -> None:
    """Approve the proposed plan. It is diagnosed and planned once more before anything is written."""
    _print_answer(api.post(f"/api/v1/incidents/{number}/approve", {"plan": plan}, having="status"), output)


def _print_answer(incident: dict[str, Any], output: str) -> None:
    if output == "json":
        _print_json(incident)
    else:
        _print_incident(incident)


def _print_incident(incident: dict[str, Any]) -> None:
    click.secho(one_line(f"#{incident['id']} {incident['title']}"), bold=True)
    rows = {
        "status": incident["status"] + (f" by {incident['acknowledged_by']}" if incident["acknowledged_by"] else ""),
        "automation": f"{incident['phase']} (mode {incident['mode']})",
        "severity": incident["severity"],
        "rule": f"{incident['rule']} @ {incident['rule_version']}",
        "target": incident["target"] or "none",
        "summary": incident.get("summary", ""),
        "resolution": incident["resolution"],
        "plan": f"{incident['plan']['digest']}: {incident['plan']['summary']}" if incident["plan"] else "",
    }
    told = [(name, value) for name, value in rows.items() if value]
    links = [("link", f"{name}: {url}") for name, url in incident.get("links", {}).items()]
    for name, value in (*told, *links):
        click.echo(f"  {name:<11} {one_line(value)}")


def _print_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))
