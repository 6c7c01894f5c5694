"""What a matched alert opens: an incident with its first escalation deadline, stored in the alert's own transaction."""

from datetime import timedelta

import msgspec

from remediator.domain.escalation import EscalationPolicy, Severity
from remediator.domain.ids import RuleName, RuleVersion
from remediator.domain.mode import Mode
from remediator.domain.target import Target
from remediator.domain.timeline import Entry


class Opening(msgspec.Struct, frozen=True):
    rule: RuleName
    rule_version: RuleVersion
    run_key: str
    """Alerts with the same key join one open incident: rule + target, or rule + fingerprint without a target."""
    title: str
    severity: Severity
    policy: EscalationPolicy
    mode: Mode
    target: Target | None
    first_page_in: timedelta
    """Zero pages at once; else the deadline by which a fix must be proven."""
    entries: tuple[Entry, ...] = ()

    def outranks(self, other: "Opening") -> bool:
        """Whether it is more severe: people are to have it sooner, or by every contact at once."""
        if self.severity is other.severity:  # as it is for nearly all that open or join one incident
            return False
        return _rank(self.severity) < _rank(other.severity)


def _rank(severity: Severity) -> tuple[timedelta, bool]:
    return severity.respond_within, not severity.urgent
