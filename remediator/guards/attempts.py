"""A rule that has tried often enough stops trying: the trouble is not what the rule thinks it is."""

from pydantic import Field

from remediator.domain.budget import Budget
from remediator.domain.ledger import Ledger, Proposal
from remediator.domain.verdict import Allow, Deny, Verdict
from remediator.guards import Guard, Window
from remediator.language.duration import format_duration


class Attempts(Guard):
    """Denies a fix, so that a person is paged, once the rule has changed this target so often within a time."""

    at_most: int = Field(ge=1, description="Fixes of one target by this rule.")
    within: Window = Field(description="The time in which they are counted.")

    def budgets(self, proposal: Proposal) -> tuple[Budget, ...]:
        key = f"attempts/{proposal.rule}/{proposal.target.key}"
        return (Budget(key, self.at_most, self.within),)

    def judge(self, proposal: Proposal, ledger: Ledger) -> Verdict:
        budgets = self.budgets(proposal)
        limit = f"{self.at_most} in {format_duration(self.within)}"
        if ledger.free_in(budgets[0]) is None:
            return Allow(f"fewer than {limit} fixes of {proposal.target} by this rule", budgets)
        return Deny(f"{proposal.target} had its {limit} fixes by this rule: they do not help for good")
