"""A proposal and a ledger to judge it by; a test says only what it is about."""

from datetime import UTC, datetime, timedelta

from remediator.domain.budget import Budget
from remediator.domain.ids import RuleName
from remediator.domain.ledger import KillSwitch, Ledger, Proposal, Reservation
from remediator.domain.mode import Mode
from remediator.domain.plan import Plan, Unit
from remediator.domain.target import Target

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
BACKEND = Target("deployment", "backend", "prod")


def propose(
    *,
    units: int = 1,
    unit: Unit = Unit.PODS,
    target: Target = BACKEND,
    rule: str = "service-down",
    path: str = "fix[0]",
    approved_by: str = "",
) -> Proposal:
    plan = Plan(
        "delete_pod",
        target,
        "delete a pod",
        calls=(),
        precondition="",
        units=units,
        unit=unit,
    )
    return Proposal(RuleName(rule), target, plan, path, approved_by)


def ledger(
    *spent: tuple[Budget, timedelta],
    mode: Mode = Mode.ACT,
    kill_switch: KillSwitch | None = None,
    health: tuple[int, int] | None = None,
) -> Ledger:
    """`spent` holds what was reserved, and how long ago."""
    return Ledger(
        now=NOW,
        mode=mode,
        kill_switch=kill_switch or KillSwitch(),
        reservations=tuple(Reservation(budget.key, NOW - ago, budget.units) for budget, ago in spent),
        workload_health={} if health is None else {BACKEND.key: health},
    )
