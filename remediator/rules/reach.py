"""Whether a policy reaches somebody at every hour of the week: asked before the night, not in it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from remediator.domain.escalation import EscalationPolicy
from remediator.domain.oncall import Roster
from remediator.rules.rulebook import Rulebook

_WEEK = [timedelta(hours=hour) for hour in range(7 * 24)]


@dataclass(frozen=True, slots=True)
class Gap:
    policy: str
    step: int
    at: datetime
    """The first hour in which nobody is reached."""

    def __str__(self) -> str:
        return f"policy {self.policy}: steps[{self.step}] reaches nobody on {self.at:%A %Y-%m-%d at %H:%M %Z}"


def gaps(rulebook: Rulebook, since: datetime) -> Iterator[Gap]:
    """In the week from `since`."""
    for policy in rulebook.policies.values():
        yield from _gaps_of(policy, rulebook.roster, since)


def _gaps_of(policy: EscalationPolicy, roster: Roster, since: datetime) -> Iterator[Gap]:
    for number, step in enumerate(policy.steps):
        silent = (since + hour for hour in _WEEK if not any(_reaches(roster, name, since + hour) for name in step.page))
        first = next(silent, None)
        if first is not None:
            yield Gap(policy.name, number, first)


def _reaches(roster: Roster, name: str, at: datetime) -> bool:
    recipient = roster.recipient(name, at)
    return recipient is not None and bool(recipient.reach)
