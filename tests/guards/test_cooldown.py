"""A target is left alone for a while after a fix."""

from datetime import timedelta

import pytest

from remediator.domain.target import Target
from remediator.domain.verdict import Allow, Hold
from remediator.guards.cooldown import Cooldown
from tests.guards.proposals import ledger, propose

COOLDOWN = Cooldown.model_validate({"for": "15m"})
PER_STEP = Cooldown.model_validate({"for": "15m", "per": "step"})


def test_a_target_that_was_never_changed_is_free() -> None:
    proposal = propose()

    assert COOLDOWN.judge(proposal, ledger()) == Allow(
        "deployment/prod/backend was not changed within 15m", COOLDOWN.budgets(proposal)
    )


def test_a_second_fix_waits_for_what_is_left_of_the_time() -> None:
    proposal = propose()
    (budget,) = COOLDOWN.budgets(proposal)

    verdict = COOLDOWN.judge(proposal, ledger((budget, timedelta(minutes=5))))

    assert isinstance(verdict, Hold)
    assert verdict.wait == timedelta(minutes=10)


def test_the_time_ends() -> None:
    proposal = propose()
    (budget,) = COOLDOWN.budgets(proposal)

    assert isinstance(COOLDOWN.judge(proposal, ledger((budget, timedelta(minutes=15)))), Allow)


@pytest.mark.parametrize(
    ("guard", "other", "verdict"),
    [
        pytest.param(COOLDOWN, {"path": "fix[1]"}, Hold, id="another step of the rule waits"),
        pytest.param(PER_STEP, {"path": "fix[1]"}, Allow, id="per step, another step may follow"),
        pytest.param(PER_STEP, {}, Hold, id="per step, the same one waits"),
        pytest.param(COOLDOWN, {"rule": "other"}, Allow, id="another rule is not bound"),
        pytest.param(COOLDOWN, {"target": Target("deployment", "web", "prod")}, Allow, id="another target is free"),
    ],
)
def test_what_shares_a_cooldown(guard: Cooldown, other: dict[str, object], verdict: type) -> None:
    (budget,) = guard.budgets(propose())

    assert isinstance(guard.judge(propose(**other), ledger((budget, timedelta(minutes=1)))), verdict)  # type: ignore[arg-type]
