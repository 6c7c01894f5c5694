"""One switch stops everything."""

from remediator.domain.ledger import KillSwitch as Switch
from remediator.domain.verdict import Allow, Deny
from remediator.guards.kill_switch import KillSwitch
from tests.guards.proposals import ledger, propose


def test_off_it_is_in_nobodys_way() -> None:
    assert KillSwitch().judge(propose(), ledger()) == Allow("the kill switch is off")


def test_on_it_says_who_and_why() -> None:
    switch = Switch(on=True, by="alice", reason="migration")

    assert KillSwitch().judge(propose(), ledger(kill_switch=switch)) == Deny(
        "the kill switch is on, by alice: migration"
    )
