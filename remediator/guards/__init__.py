"""Reasons not to act. To add one: one file with one `Guard`; it is then `use: <file name>` under `guard:`."""

from abc import ABC, abstractmethod

from remediator.catalogue import Plugin
from remediator.domain.budget import Budget
from remediator.domain.ledger import Ledger, Proposal
from remediator.domain.verdict import Verdict


class Guard(Plugin, ABC):
    """Pure: judges a proposal by the ledger, does nothing. The strictest verdict of all guards counts."""

    def budgets(self, proposal: Proposal) -> tuple[Budget, ...]:
        """What it will ask the ledger about: only these are read for `judge`, and rechecked when the intent commits."""
        return ()

    @abstractmethod
    def judge(self, proposal: Proposal, ledger: Ledger) -> Verdict: ...
