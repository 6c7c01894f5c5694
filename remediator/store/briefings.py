"""What people are told of an incident, as its row has it at the moment of asking."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from remediator.domain.briefing import Briefing
from remediator.domain.ids import IncidentId, RuleName, RuleVersion
from remediator.domain.plan import Plan
from remediator.domain.target import Target
from remediator.store.documents import from_json

COLUMNS = """rule, rule_version, title, severity, target::text AS target, progress::text AS progress,
    alert -> 'annotations' ->> 'summary' AS summary"""
"""Of `incidents`, for `briefing`."""


@dataclass(frozen=True, slots=True)
class _Look:
    summary: str


@dataclass(frozen=True, slots=True)
class _Known:
    """Of an incident's `Progress`, what people are told."""

    findings: Mapping[str, _Look] = field(default_factory=dict)
    plan: Plan | None = None
    last_word: str = ""


def briefing(incident: IncidentId, row: Any) -> Briefing:
    """From a row with `COLUMNS`."""
    known = from_json(row["progress"], _Known)
    return Briefing(
        incident=incident,
        rule=RuleName(row["rule"]),
        rule_version=RuleVersion(row["rule_version"]),
        title=row["title"],
        severity=row["severity"],
        target=from_json(row["target"], Target) if row["target"] is not None else None,
        findings={name: look.summary for name, look in known.findings.items()},
        plan=known.plan,
        last_word=known.last_word,
        summary=row["summary"] or "",
    )
