"""All rules that are in force together, as the engine asks them: which one matches, and what does it open?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from remediator.domain.alert import Alert
from remediator.domain.errors import BadPayload, NotFound
from remediator.domain.escalation import EscalationPolicy, Severity
from remediator.domain.ids import RuleVersion
from remediator.domain.mode import Mode, lower
from remediator.domain.oncall import Roster
from remediator.domain.opening import Opening
from remediator.domain.target import Target
from remediator.domain.timeline import Entry, EntryKind
from remediator.guards import Guard
from remediator.guards.kill_switch import KillSwitch
from remediator.guards.mode_ceiling import ModeCeiling
from remediator.language.expression import EvaluationError
from remediator.language.matcher_index import MatcherIndex
from remediator.notifiers import Notifier
from remediator.rules.approval import BusinessHours
from remediator.rules.compile import compile_stored
from remediator.rules.people import Escalation
from remediator.rules.rule import Rule
from remediator.rules.values import values_of_alert

ALWAYS: tuple[Guard, ...] = (KillSwitch(), ModeCeiling())
"""In force whatever guards.yaml says."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A severity, and what to tell where it is not the one that was asked for."""

    severity: Severity
    told: tuple[Entry, ...] = ()


class Rulebook:
    """Immutable; a reload makes another one."""

    def __init__(
        self,
        rules: Sequence[Rule],
        escalation: Escalation,
        *,
        guards: Sequence[Guard] = (),
        hours: BusinessHours | None = None,
    ) -> None:
        """`escalation` knows the severity and policy of every rule, and at least one severity where there is a rule."""
        self.rules = tuple(sorted(rules, key=lambda rule: -rule.priority))
        self.guards: tuple[Guard, ...] = (*ALWAYS, *guards)
        self._escalation = escalation
        self._hours = hours or BusinessHours()
        self._index = MatcherIndex([rule.matchers for rule in self.rules])
        self._versions = {rule.version: rule for rule in self.rules}

    @property
    def roster(self) -> Roster:
        return self._escalation.roster

    @property
    def severities(self) -> Mapping[str, Severity]:
        return self._escalation.severities

    @property
    def policies(self) -> Mapping[str, EscalationPolicy]:
        return self._escalation.policies

    def matching(self, alert: Alert) -> tuple[Rule, ...]:
        """The first one counts; the others are what it was preferred to."""
        return tuple(self.rules[position] for position in self._index.match(alert.labels))

    def opening(self, alert: Alert, *, ceiling: Mode) -> Opening | None:
        """None where no rule matches."""
        matching = self.matching(alert)
        return self._opened_by(matching[0], alert, ceiling) if matching else None

    def version(self, version: RuleVersion) -> Rule | None:
        return self._versions.get(version)

    def compile_document(self, document: Mapping[str, object]) -> Rule:
        """A rule as it was stored. Raises `BadDocument` where this release no longer understands it."""
        return compile_stored(document, self._hours)

    def notifier(self, channel: str) -> Notifier:
        if channel not in self._escalation.channels:
            raise NotFound(f"there is no channel {channel!r} any more")
        return self._escalation.channels[channel]

    def _opened_by(self, rule: Rule, alert: Alert, ceiling: Mode) -> Opening:
        values = values_of_alert(alert)
        chosen = self._severity(rule, values)
        target, told = _target(rule, values)
        severity = chosen.severity
        return Opening(
            rule=rule.name,
            rule_version=rule.version,
            run_key=f"{rule.name}/{target.key if target else f'{alert.source}/{alert.fingerprint}'}",
            title=f"{alert.name} on {target}" if target else alert.name,
            severity=severity,
            policy=self.policies[rule.policy or severity.policy],
            mode=lower(ceiling, rule.mode),
            target=target,
            first_page_in=_first_page_in(rule, severity),
            entries=(*chosen.told, *told),
        )

    def _severity(self, rule: Rule, values: Mapping[str, object]) -> _Chosen:
        """Where the alert names none that we know, the most urgent one: too loud is better than too late."""
        try:
            name = rule.severity.render(values)
            reason = f"{name!r} is no severity"
        except EvaluationError as error:
            name, reason = None, error.reason
        if isinstance(name, str) and name in self.severities:
            return _Chosen(self.severities[name])
        loudest = min(self.severities.values(), key=lambda severity: severity.respond_within)
        return _Chosen(loudest, (Entry(EntryKind.NOTE, f"taken as {loudest.name}: {reason}", "severity"),))


def _target(rule: Rule, values: Mapping[str, object]) -> tuple[Target | None, tuple[Entry, ...]]:
    if rule.target is None:
        return None, ()
    try:
        return rule.target.render(values), ()
    except BadPayload as error:
        return None, (Entry(EntryKind.NOTE, f"no target, so no fix: {error}", "target"),)


def _first_page_in(rule: Rule, severity: Severity) -> timedelta:
    at_once = severity.at_once if rule.page_at_once is None else rule.page_at_once
    if at_once:
        return timedelta()
    return severity.respond_within if rule.respond_within is None else rule.respond_within
