"""What guards may know about the past and the present: read once, judged purely."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from remediator.domain.budget import Budget
from remediator.domain.ids import RuleName
from remediator.domain.mode import Mode
from remediator.domain.plan import Plan
from remediator.domain.target import Target


class Reservation(msgspec.Struct, frozen=True):
    """One earlier use of a budget."""

    key: str
    at: datetime
    units: int


@dataclass(frozen=True, slots=True)
class KillSwitch:
    on: bool = False
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What is about to be done, as a guard sees it."""

    rule: RuleName
    target: Target
    plan: Plan
    path: str
    approved_by: str = ""
    """Empty: nobody has approved this very plan."""


@dataclass(frozen=True, slots=True)
class Ledger:
    now: datetime
    mode: Mode
    """The lower of the global ceiling and the rule's own mode."""
    kill_switch: KillSwitch = KillSwitch()
    reservations: tuple[Reservation, ...] = ()
    workload_health: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Target key -> (ready, desired) where a diagnostic has seen it."""

    def free_in(self, budget: Budget) -> timedelta | None:
        """None where the budget has room now, else how long until enough of it is free again."""
        return free_in(budget, self.reservations, self.now)


def spends(budgets: Iterable[Budget], *, at: datetime) -> tuple[Reservation, ...]:
    """By one write: once a key, though its budgets may have several windows."""
    units: dict[str, int] = {}
    for budget in budgets:
        units[budget.key] = max(budget.units, units.get(budget.key, 0))
    return tuple(Reservation(key, at, spent) for key, spent in units.items())


def free_in(budget: Budget, reservations: tuple[Reservation, ...], now: datetime) -> timedelta | None:
    """The one rule for "does it fit": judged before, and judged again under the lock."""
    counted = (r for r in reservations if r.key in budget.keys and now - r.at < budget.within)
    spent = sorted(counted, key=lambda reservation: reservation.at)
    excess = sum(r.units for r in spent) + budget.units - budget.at_most
    if excess <= 0:
        return None
    for reservation in spent:
        excess -= reservation.units
        if excess <= 0:
            return reservation.at + budget.within - now
    return budget.within
