"""The mode decides first how far anything may go."""

import pytest

from remediator.domain.mode import Mode
from remediator.domain.verdict import Allow, Ask, Deny, Verdict
from remediator.guards.mode_ceiling import ModeCeiling
from tests.guards.proposals import ledger, propose


@pytest.mark.parametrize(("mode", "verdict"), [(Mode.OBSERVE, Deny), (Mode.SUGGEST, Ask), (Mode.ACT, Allow)])
def test_each_mode_goes_as_far_as_it_says(mode: Mode, verdict: type[Verdict]) -> None:
    assert isinstance(ModeCeiling().judge(propose(approved_by="alice"), ledger(mode=mode)), verdict)
