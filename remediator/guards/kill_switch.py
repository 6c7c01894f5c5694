"""One switch that stops every write on every replica. Always on guard, whatever guards.yaml says."""

from remediator.domain.ledger import Ledger, Proposal
from remediator.domain.verdict import Allow, Deny, Verdict
from remediator.guards import Guard


class KillSwitch(Guard):
    """Denies every write while the kill switch is on; what it stopped is not caught up on later."""

    def judge(self, proposal: Proposal, ledger: Ledger) -> Verdict:
        switch = ledger.kill_switch
        if not switch.on:
            return Allow("the kill switch is off")
        return Deny(f"the kill switch is on, by {switch.by or 'somebody'}: {switch.reason or 'no reason given'}")
