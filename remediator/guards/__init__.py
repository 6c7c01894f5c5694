"""Reasons not to act. To add one: one file with one `Guard`; it is then `use: <file name>` under `guard:`."""

from abc import ABC, abstractmethod
from datetime import timedelta
from typing import Annotated

from remediator.catalogue import Plugin
from remediator.domain.budget import LONGEST_WINDOW, Budget
from remediator.domain.ledger import Ledger, Proposal
from remediator.domain.verdict import Verdict
from remediator.language.duration import Duration, between

Window = Annotated[Duration, between(timedelta(), LONGEST_WINDOW)]
"""In which something is counted."""


class Guard(Plugin, ABC):
    """Pure: judges a proposal by the ledger, does nothing. The strictest verdict of all guards counts."""

    def budgets(self, proposal: Proposal) -> tuple[Budget, ...]:
        """What it will ask the ledger about: only these are read for `judge`, no further back than their windows, and
        rechecked when the intent commits."""
        return ()

    @abstractmethod
    def judge(self, proposal: Proposal, ledger: Ledger) -> Verdict: ...
