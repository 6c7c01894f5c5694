"""`remediator explain`: what would happen to an alert, rule by rule, without looking at or touching anything."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click
import msgspec

from remediator.cli.check import load_or_stop
from remediator.cli.tables import one_line
from remediator.domain.alert import Alert, AlertStatus
from remediator.domain.finding import Finding
from remediator.domain.ids import Fingerprint, SourceName
from remediator.domain.mode import Mode
from remediator.language.text import to_text

if TYPE_CHECKING:
    from remediator.rules.explain import Explanation, StepAnswer


@click.command()
@click.argument("alert", type=click.File("r"))
@click.option(
    "--rules", "folder", envvar="REMEDIATOR_RULES_DIR", type=click.Path(path_type=Path), default=Path("rules")
)
@click.option("--mode", type=click.Choice(["observe", "suggest", "act"]), default="act", help="The daemon's ceiling.")
@click.option("--findings", type=click.File("r"), help="JSON: what each look finds, as {name: {fact: value}}.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
def command(alert: TextIO, folder: Path, mode: str, findings: TextIO | None, output: str) -> None:
    """Tell what the rules would do with ALERT, and why not something else.

    ALERT is JSON: a webhook body of Alertmanager or Grafana, or one alert with its `labels`. `-` reads it from stdin.
    """
    from remediator.rules.explain import explain

    now = datetime.now(UTC)  # the reader's own clock
    alerts = _alerts(_json(alert), now)
    found = _findings(_json(findings)) if findings is not None else {}
    rulebook = load_or_stop(folder).rulebook
    explanations = [explain(rulebook, each, ceiling=Mode(mode), findings=found, now=now) for each in alerts]
    if output == "json":
        told = msgspec.to_builtins(explanations, builtin_types=(datetime, timedelta), enc_hook=to_text)
        click.echo(json.dumps(told, indent=2, default=to_text))
        return
    for explanation in explanations:
        _print(explanation)


def _json(file: TextIO) -> Any:
    try:
        return json.load(file)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file.name} is not JSON: {error}") from error


def _alerts(body: Any, now: datetime) -> list[Alert]:
    written = body["alerts"] if isinstance(body, Mapping) and "alerts" in body else body
    alerts = written if isinstance(written, list) else [written]
    if not alerts or not all(isinstance(each, Mapping) and isinstance(each.get("labels"), Mapping) for each in alerts):
        raise click.UsageError("this is no alert: it has no `labels`")
    return [_alert(each, now) for each in alerts]


def _alert(written: Mapping[str, Any], now: datetime) -> Alert:
    return Alert(
        source=SourceName("explain"),
        fingerprint=Fingerprint(str(written.get("fingerprint", ""))),
        status=AlertStatus.RESOLVED if written.get("status") == "resolved" else AlertStatus.FIRING,
        labels={str(name): str(value) for name, value in written["labels"].items()},
        annotations={str(name): str(value) for name, value in (written.get("annotations") or {}).items()},
        starts_at=now,
    )


def _findings(written: Any) -> dict[str, Finding]:
    if not isinstance(written, Mapping) or not all(isinstance(facts, Mapping) for facts in written.values()):
        raise click.UsageError("findings are {name: {fact: value}}")
    return {str(name): _finding(facts) for name, facts in written.items()}


def _finding(facts: Mapping[str, Any]) -> Finding:
    own = {name: value for name, value in facts.items() if name not in {"ok", "summary", "error"}}
    ok = bool(facts.get("ok", True))
    return Finding(ok, str(facts.get("summary", "given")), own, str(facts.get("error", "")))


@dataclass(frozen=True, slots=True)
class _Section:
    title: str
    lines: Sequence[str]


def _print(explanation: "Explanation") -> None:
    labels = ", ".join(f"{name}={value!r}" for name, value in explanation.labels.items())
    click.secho(one_line(f"{explanation.alert} {{{labels}}}"), bold=True)
    for section in _sections(explanation):
        click.secho(f"  {section.title}", underline=True)
        for line in section.lines or ["nothing"]:
            click.echo(f"    {one_line(line)}")
    click.echo()


def _sections(explanation: "Explanation") -> Iterator[_Section]:
    yield _Section(
        "rules", [f"{'yes' if r.matches else 'no '} {r.rule} ({r.file}): {r.why}" for r in explanation.rules]
    )
    opening = explanation.opening
    if opening is None:
        yield _Section("opens", ["no incident: no rule matches, so nobody is paged"])
        return
    yield _Section("opens", list(_opening(explanation)))
    yield _Section("values", [f"{name} = {value}" for name, value in (explanation.values or {}).items()])
    yield _Section("looks, all at once", [_step(step) for step in explanation.looks])
    yield _Section("fixes, in order", [line for step in explanation.fixes for line in _fix(step)])
    yield _Section("guards, the strictest counts", [_step(step) for step in explanation.guards])
    yield _Section("proof", [_step(step) for step in explanation.checks])
    links = explanation.guidance.links.items()
    yield _Section("links, for whoever is paged", [f"{name}: {url}" for name, url in links])
    yield _Section("pages, unless acknowledged, or proven fixed before the first", list(_pages(explanation)))


def _opening(explanation: "Explanation") -> Iterator[str]:
    opening = explanation.opening
    if opening is None:
        return
    severity = opening.severity
    yield f"incident {opening.title!r}"
    if explanation.guidance.summary:
        yield f"summary {explanation.guidance.summary}"
    defined = f"{severity.title} ({severity.definition})"
    yield f"severity {severity.name}: {defined}, respond within {to_text(severity.respond_within)}"
    yield f"mode {opening.mode}"
    yield f"target {opening.target or 'none'}"
    for entry in opening.entries:
        yield f"{entry.path}: {entry.message}"


def _step(step: "StepAnswer") -> str:
    parameters = ", ".join(f"{name}: {value}" for name, value in step.parameters.items())
    return f"{step.path} {step.use}{f' ({parameters})' if parameters else ''}"


def _fix(step: "StepAnswer") -> Iterator[str]:
    yield f"{_step(step)}: {step.answer}"
    yield f"    when {step.when}"
    if step.approval:
        yield f"    {step.approval}"


def _pages(explanation: "Explanation") -> Iterator[str]:
    for page in explanation.pages:
        when = f"after {to_text(page.after)}" if page.after else "at once"
        people = ", ".join(page.called) or "NOBODY is reached"
        yield f"{when}: {', '.join(page.names)} -> {people}"
