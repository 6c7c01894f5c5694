"""What expressions and templates can see: the names, their types at load, and their values for an incident."""

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cache

from remediator.diagnostics import Diagnostic
from remediator.domain.alert import Alert
from remediator.domain.finding import Finding
from remediator.domain.incident import Incident
from remediator.domain.target import Target
from remediator.language.expression import CelType, Scope, python_type_to_cel

ALERT_NAMES: Mapping[str, CelType] = {
    "alert.name": CelType.STRING,
    "alert.source": CelType.STRING,
    "alert.fingerprint": CelType.STRING,
    "alert.status": CelType.STRING,
    "alert.labels": CelType.map_of(CelType.STRING),
    "alert.annotations": CelType.map_of(CelType.STRING),
    "alert.values": CelType.map_of(CelType.DOUBLE),
    "alert.starts_at": CelType.TIMESTAMP,
    "alert.generator_url": CelType.STRING,
}
"""Known as soon as there is an alert: what `severity` and `target` may look at."""

INCIDENT_NAMES: Mapping[str, CelType] = {
    **ALERT_NAMES,
    "incident.id": CelType.INT,
    "incident.title": CelType.STRING,
    "incident.severity": CelType.STRING,
    "incident.mode": CelType.STRING,
    "incident.opened_at": CelType.TIMESTAMP,
    "incident.age": CelType.DURATION,
    # A map, for CEL reserves the word `namespace` and takes it as a key only.
    "target": CelType.map_of(CelType.STRING),
    "now": CelType.TIMESTAMP,
}

FINDING_NAMES: Mapping[str, CelType] = {"ok": CelType.BOOL, "summary": CelType.STRING, "error": CelType.STRING}
"""What every finding has; the rest are the diagnostic's own facts, and missing where `ok` is false."""


def finding_names(name: str, diagnostic: type[Diagnostic]) -> dict[str, CelType]:
    """The typed variables that a diagnostic called `name` gives to expressions."""
    return {f"diagnose.{name}.{fact}": kind for fact, kind in _fact_types(diagnostic)}


@cache
def _fact_types(diagnostic: type[Diagnostic]) -> tuple[tuple[str, CelType], ...]:
    hints = typing.get_type_hints(diagnostic.Facts, include_extras=True)
    facts = {field.name: python_type_to_cel(hints[field.name]) for field in dataclasses.fields(diagnostic.Facts)}
    return tuple({**facts, **FINDING_NAMES}.items())


@cache
def alert_scope() -> Scope:
    return Scope(ALERT_NAMES)


@cache
def incident_scope() -> Scope:
    return Scope(INCIDENT_NAMES)


def values_of_alert(alert: Alert) -> dict[str, object]:
    return {
        "alert.name": alert.name,
        "alert.source": alert.source,
        "alert.fingerprint": alert.fingerprint,
        "alert.status": alert.status.value,
        "alert.labels": alert.labels,
        "alert.annotations": alert.annotations,
        "alert.values": {name: value for name, value in alert.values.items() if value is not None},
        "alert.starts_at": alert.starts_at,
        "alert.generator_url": alert.generator_url,
    }


def values_of(incident: Incident, *, now: datetime) -> Mapping[str, object]:
    """Names that are not known (no target, a look that failed) are left out: to need one is an error, never a no."""
    return {
        **values_of_alert(incident.alert),
        "incident.id": incident.id,
        "incident.title": incident.title,
        "incident.severity": incident.severity,
        "incident.mode": incident.mode.value,
        "incident.opened_at": incident.opened_at,
        "incident.age": now - incident.opened_at,
        "now": now,
        **_values_of_target(incident.target),
        **dict(_values_of_findings(incident.progress.findings)),
    }


def _values_of_target(target: Target | None) -> dict[str, object]:
    if target is None:
        return {}
    return {"target": {"kind": target.kind, "name": target.name, "namespace": target.namespace}}


def _values_of_findings(findings: Mapping[str, Finding]) -> Iterator[tuple[str, object]]:
    for name, finding in findings.items():
        yield f"diagnose.{name}.ok", finding.ok
        yield f"diagnose.{name}.summary", finding.summary
        yield f"diagnose.{name}.error", finding.error
        for fact, value in finding.facts.items():
            if finding.ok and fact not in FINDING_NAMES:
                yield f"diagnose.{name}.{fact}", value
