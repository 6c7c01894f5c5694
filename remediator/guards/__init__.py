"""Reasons not to act. To add one: one file with one `Guard`; it is then `use: <file name>` under `guard:`."""

from abc import ABC, abstractmethod

from remediator.catalogue import Plugin
from remediator.domain.ledger import Ledger, Proposal
from remediator.domain.verdict import Verdict


class Guard(Plugin, ABC):
    """Pure: judges a proposal by the ledger, does nothing. The strictest verdict of all guards counts."""

    @abstractmethod
    def judge(self, proposal: Proposal, ledger: Ledger) -> Verdict: ...
