"""What a message to people tells of an incident: little enough to be read along with every page that is sent."""

from collections.abc import Mapping

import msgspec

from remediator.domain.guidance import NO_GUIDANCE, Guidance
from remediator.domain.ids import IncidentId, RuleName, RuleVersion
from remediator.domain.incident import Incident
from remediator.domain.plan import Plan
from remediator.domain.target import Target


class Briefing(msgspec.Struct, frozen=True):
    incident: IncidentId
    rule: RuleName
    rule_version: RuleVersion
    title: str
    severity: str
    target: Target | None = None
    findings: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Diagnostic -> what it saw, in a line."""
    plan: Plan | None = None
    last_word: str = ""
    """Of the automation: what it waits for, or why it is through."""
    summary: str = ""
    """The alert's annotation."""
    resolution: str = ""
    guidance: Guidance = NO_GUIDANCE
    """Of `rule_version`, where it has been asked for."""


def briefing_on(incident: Incident) -> Briefing:
    return Briefing(
        incident=incident.id,
        rule=incident.rule,
        rule_version=incident.rule_version,
        title=incident.title,
        severity=incident.severity,
        target=incident.target,
        findings={name: finding.summary for name, finding in incident.progress.findings.items()},
        plan=incident.progress.plan,
        last_word=incident.progress.last_word,
        summary=incident.alert.annotations.get("summary", ""),
        resolution=incident.resolution,
    )
