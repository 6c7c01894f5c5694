"""A rule gives up after so many fixes of one target, and says so to a person."""

from datetime import timedelta

from remediator.domain.verdict import Allow, Deny
from remediator.guards.attempts import Attempts
from tests.guards.proposals import ledger, propose

TWICE = Attempts.model_validate({"at_most": 2, "within": "4h"})


def test_the_second_fix_is_allowed_and_the_third_denied() -> None:
    proposal = propose()
    (budget,) = TWICE.budgets(proposal)
    once = (budget, timedelta(hours=2))
    twice = (budget, timedelta(hours=1))

    assert isinstance(TWICE.judge(proposal, ledger(once)), Allow)
    assert TWICE.judge(proposal, ledger(once, twice)) == Deny(
        "deployment/prod/backend had its 2 in 4h fixes by this rule: they do not help for good"
    )


def test_old_fixes_are_forgiven() -> None:
    proposal = propose()
    (budget,) = TWICE.budgets(proposal)

    assert isinstance(TWICE.judge(proposal, ledger((budget, timedelta(hours=4)), (budget, timedelta(hours=9)))), Allow)


def test_an_allowed_fix_is_counted() -> None:
    proposal = propose()
    verdict = TWICE.judge(proposal, ledger())

    assert isinstance(verdict, Allow)
    assert verdict.budgets == TWICE.budgets(proposal)
