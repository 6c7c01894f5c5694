"""Which steps may take longer than an incident's lease lasts: known as soon as rules and settings are."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from remediator.actions import Action
from remediator.checks import Check
from remediator.diagnostics import Diagnostic
from remediator.domain.ids import RuleName, StepPath
from remediator.language.duration import format_duration, parse_duration
from remediator.language.template import MappingValue
from remediator.rules.rule import Rule, Step
from remediator.rules.rulebook import Rulebook

SHARE_OF_LEASE = 0.8
"""For deciding or writing: the rest is for committing it."""


@dataclass(frozen=True, slots=True)
class Misfit:
    file: str
    rule: RuleName
    step: StepPath
    timeout: timedelta
    lease: timedelta
    writes: bool

    def __str__(self) -> str:
        timeout, longest = format_duration(self.timeout), format_duration(self.lease * SHARE_OF_LEASE)
        lease = f"the lease of {format_duration(self.lease)}"
        costs = "it is never done" if self.writes else "where it takes as long, people get the incident"
        way_out = f"give it {longest} at most, or raise engine.lease_seconds"
        return f"{self.rule}: {self.step}: a timeout of {timeout} does not fit {lease}, {costs}: {way_out}"


def misfits(rulebook: Rulebook, lease: timedelta) -> Iterator[Misfit]:
    """Without those whose timeout is known at night only: they are refused, or given up, then."""
    for rule in rulebook.rules:
        for step in _steps(rule):
            timeout = _timeout(step)
            if timeout is not None and timeout > lease * SHARE_OF_LEASE:
                yield Misfit(rule.file, rule.name, step.path, timeout, lease, issubclass(step.plugin, Action))


def _steps(rule: Rule) -> Iterator[Step[Diagnostic] | Step[Action] | Step[Check]]:
    yield from rule.diagnose.values()
    yield from rule.fix
    yield from rule.verify.checks


def _timeout(step: Step[Diagnostic] | Step[Action] | Step[Check]) -> timedelta | None:
    written = step.parameters.entries.get("timeout") if isinstance(step.parameters, MappingValue) else None
    if written is None:
        default: timedelta = step.plugin.model_fields["timeout"].default
        return default
    return parse_duration(str(written.render({}))) if written.is_constant else None
