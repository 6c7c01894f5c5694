"""After a fix, the same target is left alone for a while."""

from typing import Literal

from pydantic import Field

from remediator.domain.budget import Budget
from remediator.domain.ledger import Ledger, Proposal
from remediator.domain.verdict import Allow, Hold, Verdict
from remediator.guards import Guard, Window
from remediator.language.duration import format_duration


class Cooldown(Guard):
    """Holds a fix until some time has passed since this rule last changed this target."""

    pause: Window = Field(alias="for", description="How long the target is left alone after a fix.")
    per: Literal["rule", "step"] = Field(
        default="rule",
        description="`step` lets the rule's next step follow at once and keeps the same one from repeating.",
    )

    def budgets(self, proposal: Proposal) -> tuple[Budget, ...]:
        who = f"{proposal.rule}/{proposal.path}" if self.per == "step" else proposal.rule
        key = f"cooldown/{who}/{proposal.target.key}"
        return (Budget(key, at_most=1, within=self.pause),)

    def judge(self, proposal: Proposal, ledger: Ledger) -> Verdict:
        budgets = self.budgets(proposal)
        wait = ledger.free_in(budgets[0])
        if wait is None:
            return Allow(f"{proposal.target} was not changed within {format_duration(self.pause)}", budgets)
        return Hold(f"{proposal.target} was changed less than {format_duration(self.pause)} ago", wait)
