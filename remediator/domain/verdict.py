"""A guard's answer, always with its reason: go on, ask a person, wait, or no."""

from dataclasses import dataclass
from datetime import timedelta

from remediator.domain.budget import Budget


@dataclass(frozen=True, slots=True)
class Allow:
    reason: str
    budgets: tuple[Budget, ...] = ()
    """Checked again, and reserved, in the transaction that journals the intent."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Only with a person's approval."""

    reason: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Not now: look again after `wait`."""

    reason: str
    wait: timedelta


@dataclass(frozen=True, slots=True)
class Deny:
    reason: str


Verdict = Allow | Ask | Hold | Deny
