"""What stands in for guards that cannot be read: guards fail closed."""

from remediator.domain.ledger import Ledger, Proposal
from remediator.domain.verdict import Deny, Verdict
from remediator.guards import Guard


class Closed(Guard):
    """Denies everything. Not for people to write: it is no file in the family's folder."""

    def judge(self, proposal: Proposal, ledger: Ledger) -> Verdict:
        return Deny("the global guards cannot be read: nothing is changed until they can")
