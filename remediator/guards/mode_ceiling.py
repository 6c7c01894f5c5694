"""How far this daemon, and this rule, may go today. Always on, whatever guards.yaml says."""

from typing import assert_never

from remediator.domain.ledger import Ledger, Proposal
from remediator.domain.mode import Mode
from remediator.domain.verdict import Allow, Ask, Deny, Verdict
from remediator.guards import Guard


class ModeCeiling(Guard):
    """Denies every write in observe mode, and asks a person first in suggest mode."""

    def judge(self, proposal: Proposal, ledger: Ledger) -> Verdict:
        match ledger.mode:
            case Mode.OBSERVE:
                return Deny("observe mode: nothing is changed")
            case Mode.SUGGEST:
                return Ask("suggest mode: a person approves each plan")
            case Mode.ACT:
                return Allow("act mode")
            case never:
                assert_never(never)
