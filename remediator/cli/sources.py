"""`remediator sources`: who sends us alerts, what they did not tell, and how they should be configured to."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, assert_never

import click

from remediator.cli.client import Api, api_options
from remediator.cli.configuration import config_option, read_settings
from remediator.cli.exits import BadSettings, Exit
from remediator.cli.tables import age, one_line, print_table
from remediator.language.document import BadYaml, Problem, Severity

if TYPE_CHECKING:
    from remediator.clients.alertmanager import Alertmanager
    from remediator.settings import PolledSource, Settings

_COLUMNS = (
    "source",
    "peer",
    "kind",
    "polled",
    "firing",
    "suppressed",
    "opened",
    "closed",
    "lag p50",
    "lag p99",
    "error",
)
_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTE: "cyan"}


@dataclass(frozen=True, slots=True)
class Review:
    """What one sender's configuration is like."""

    where: str
    receiver: str
    kind: Literal["alertmanager", "grafana"]
    text: str = ""
    """As it was read."""
    problems: tuple[Problem, ...] = ()
    unchecked: tuple[str, ...] = ()
    error: str = ""
    """Why it could not be read at all."""


@click.group()
def command() -> None:
    """Who sends alerts here: what polls repaired, how late alerts are, and how senders should be configured."""


@command.command("list")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@api_options
def list_(api: Api, output: str) -> None:
    """Every peer that is polled, and every other source that opened an episode within the last day.

    OPENED and CLOSED count what polls repaired; the lag runs from an alert's start to its arrival, over the last day.
    """
    found = api.get("/api/v1/sources", having="sources")["sources"]
    if output == "json":
        click.echo(json.dumps(found, indent=2))
        return
    print_table(_COLUMNS, [_row(each) for each in found])


@command.command()
@config_option
@click.option("--file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="An alertmanager.yml.")
@click.option("--receiver", help="The name of our receiver there. Default: that of the settings.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def check(config: Path | None, file: Path | None, receiver: str | None, output: str) -> None:
    """Ask every peer how it is configured, say what loses or delays alerts, and print the route to use: an
    alertmanager.yml, or a file for Grafana's provisioning.

    With --file nobody is asked; whether polling is necessary is told, unless the settings poll for the receiver. Exits
    with 3 where there are errors, with 1 where a peer did not answer.
    """
    settings = read_settings(config)
    reviews = (
        [_review_file(file, receiver, settings)] if file is not None else asyncio.run(_review_peers(settings, receiver))
    )
    if not reviews:
        raise BadSettings("no source is polled: name its peers in the settings (sources), or pass --file")
    asked_for = dict.fromkeys((review.kind, review.receiver) for review in reviews)
    routes = [_recommended(receiver, settings, kind=kind) for kind, receiver in asked_for]
    if output == "json":
        told = [_document(review) for review in reviews]
        click.echo(json.dumps({"sources": told, "recommended": routes}, indent=2))
    else:
        _print(reviews, routes)
    sys.exit(_exit(reviews))


def _review_file(file: Path, receiver: str | None, settings: "Settings") -> Review:
    from remediator.language.foreign_yaml import load_foreign
    from remediator.senders.lint import lint_alertmanager, receiver_by_address

    review = partial(Review, str(file), kind="alertmanager")
    try:
        text = file.read_text(encoding="utf-8")
        document = load_foreign(text, str(file))
    except BadYaml as error:
        return review(receiver=receiver or "remediator", text=text, problems=(error.problem,))
    except (OSError, UnicodeDecodeError) as error:
        return review(receiver=receiver or "remediator", error=f"cannot be read: {error}")
    name, polled = receiver or receiver_by_address(document) or "remediator", _polled(settings)
    problems = lint_alertmanager(document, name, is_polled=name in polled, also_polled=polled)
    return review(receiver=name, text=text, problems=problems)


def _polled(settings: "Settings") -> frozenset[str]:
    """For which receivers of Alertmanagers its alerts are asked for."""
    return frozenset(each.receiver for each in settings.sources.values() if each.kind == "alertmanager")


async def _review_peers(settings: "Settings", receiver: str | None) -> list[Review]:
    from remediator.clients.http import open_http
    from remediator.connections import peers_of

    async with open_http(private_networks=settings.private_networks) as http:
        return [
            await _review_peer(peer, source, receiver or source.receiver, settings=settings)
            for source in settings.sources.values()
            for peer in peers_of(source, http)
        ]


async def _review_peer(peer: "Alertmanager", source: "PolledSource", receiver: str, *, settings: "Settings") -> Review:
    from remediator.clients.alertmanager import original_config
    from remediator.domain.errors import RemediatorError
    from remediator.language.foreign_yaml import load_foreign
    from remediator.senders.lint import lint_alertmanager, lint_grafana

    review = partial(Review, peer.url, receiver, source.kind)
    try:
        status = await peer.status()
        text = status.config.decode() if source.kind == "grafana" else original_config(status) or ""
        document = load_foreign(text, peer.url)
    except BadYaml as error:
        return review(error=f"its configuration cannot be read: {error.problem.message}")
    except RemediatorError as error:
        return review(error=str(error))
    match source.kind:
        case "grafana":
            problems, unchecked = lint_grafana(document, receiver, timestamp_headers=_timestamp_headers(settings))
            return review(text=text, problems=problems, unchecked=unchecked)
        case "alertmanager":
            problems = lint_alertmanager(document, receiver, is_polled=True, also_polled=_polled(settings))
            return review(text=text, problems=problems)
        case _:
            assert_never(source.kind)


def _recommended(receiver: str, settings: "Settings", *, kind: Literal["alertmanager", "grafana"]) -> str:
    from remediator.senders.contact_points import TIMESTAMP_HEADER
    from remediator.senders.recommended import recommended, recommended_for_grafana

    url = settings.public_url or f"http://{settings.host}:{settings.port}"
    match kind:
        case "grafana":
            header = next(iter(_timestamp_headers(settings)), TIMESTAMP_HEADER)
            return recommended_for_grafana(receiver, url, timestamp_header=header)
        case "alertmanager":
            return recommended(receiver, url)
        case _:
            assert_never(kind)


def _timestamp_headers(settings: "Settings") -> Sequence[str]:
    """Of whoever may sign."""
    return [each.timestamp_header for each in settings.webhooks.grafana.values()]


def _print(reviews: Sequence[Review], routes: Sequence[str]) -> None:
    for review in reviews:
        for problem in review.problems:
            click.secho(problem.render(review.text), fg=_COLOURS[problem.severity])
        for told in review.unchecked:
            click.secho(one_line(f"{review.where}: not checked: {told}"), fg="yellow")
        if review.error:
            click.secho(one_line(f"{review.where}: not checked: {review.error}"), fg="red")
        elif all(problem.severity is Severity.NOTE for problem in review.problems):
            click.secho(f"{review.where}: nothing to complain of", fg="green")
    for route in routes:
        click.echo(f"\nThe route and the receiver to use:\n\n{route}", nl=False)


def _document(review: Review) -> dict[str, object]:
    return {
        "source": review.where,
        "receiver": review.receiver,
        "problems": [asdict(problem) for problem in review.problems],
        "unchecked": list(review.unchecked),
        "error": review.error,
    }


def _exit(reviews: Sequence[Review]) -> Exit:
    if any(problem.severity is Severity.ERROR for review in reviews for problem in review.problems):
        return Exit.FINDINGS
    return Exit.FAILURE if any(review.error for review in reviews) else Exit.OK


def _row(each: dict[str, Any]) -> Sequence[object]:
    return (
        each["source"],
        each["peer"] or "not polled",
        each["kind"] or "-",
        age(each["polled_at"]) if each["polled_at"] else "-",
        *(_shown(each[key]) for key in ("firing", "suppressed", "opened_by_poll", "closed_by_poll")),
        _seconds(each["lag_p50_seconds"]),
        _seconds(each["lag_p99_seconds"]),
        each["error"] or "-",
    )


def _shown(count: int | None) -> object:
    return "-" if count is None else count


def _seconds(lag: float | None) -> str:
    return "-" if lag is None else f"{lag:.1f}s"
