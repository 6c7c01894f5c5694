"""What is sent without a database, and when; what counts as one outage. Time is a value."""

import dataclasses
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from remediator.domain.escalation import EscalationPolicy, EscalationStep
from remediator.domain.ids import IncidentId, RuleVersion
from remediator.domain.last_resort import Call, Deadlines, RunningChain, WaitingPage, by_every_channel, calls, strike
from remediator.domain.mode import Mode
from remediator.domain.notification import Notification, NotificationKind
from remediator.domain.oncall import Contact, Recipient
from remediator.domain.outage import STEADY, Outage, is_over, lost, recovered

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
CHAIN = EscalationPolicy("on-call", (EscalationStep(("ann",)), EscalationStep(("bob",))))
ANN = Recipient("ann", (Contact("chat", "U1"), Contact("mail", "ann@example.invalid")))
BOB = Recipient("bob", (Contact("mail", "bob@example.invalid"),))
MOMENTS = st.integers(0, 10_000).map(lambda seconds: timedelta(seconds=seconds))


def chain(*, started: timedelta | None = None, due: timedelta = MINUTE) -> RunningChain:
    return RunningChain(IncidentId(7), RuleVersion("v1"), "down", "sev1", False, Mode.ACT, CHAIN, 1, started, due)


def page(*contacts: Contact, due: timedelta = MINUTE) -> WaitingPage:
    note = Notification(IncidentId(7), NotificationKind.PAGE, "7:1:0:ann", "ann", "", "", "down", "sev1", "")
    return WaitingPage(note, tuple(Call("ann", "7:1:0:ann", contact) for contact in contacts), due)


def test_the_first_page_begins_the_chain_and_the_next_is_due_a_step_later() -> None:
    due, following = strike(chain(), 2 * MINUTE)

    assert (due.page, due.step) == (("ann",), 0)
    assert (following.started, following.due) == (2 * MINUTE, 17 * MINUTE)


def test_deadlines_that_were_missed_collapse_into_the_step_that_is_current() -> None:
    due, following = strike(chain(started=timedelta(), due=15 * MINUTE), 50 * MINUTE)

    assert (due.page, due.step) == (("ann", "bob"), 3)
    assert following.due == 60 * MINUTE


@given(MOMENTS, st.lists(MOMENTS, max_size=8))
def test_a_chain_goes_on_for_as_long_as_the_outage_and_never_twice_at_once(
    first: timedelta, waits: list[timedelta]
) -> None:
    at, running, steps = first, chain(due=first), []
    for wait in waits:
        due, running = strike(running, at)
        steps.append(due.step)
        assert running.due > at
        at = running.due + wait

    assert steps == sorted(set(steps))


@given(st.lists(MOMENTS, max_size=30), st.integers(0, 20), MOMENTS)
def test_the_soonest_are_kept_and_each_strikes_once(due: list[timedelta], at_most: int, at: timedelta) -> None:
    kept = Deadlines.of([page(due=moment) for moment in due], at_most=at_most)

    struck, left = kept.struck(at)

    assert [deadline.due for deadline in kept.all] == sorted(due)[:at_most]
    assert (*struck, *left.all) == kept.all
    assert all(deadline.due <= at for deadline in struck)
    assert all(deadline.due > at for deadline in left.all)


def test_everybody_is_called_by_address_and_a_channel_nobody_has_by_its_own() -> None:
    ordered = calls("7:1:3", [ANN, BOB], ["chat", "mail", "ops"], urgent=False)

    assert ordered == (
        Call("ann", "7:1:3:ann", Contact("chat", "U1")),
        Call("ann", "7:1:3:ann", Contact("mail", "ann@example.invalid")),
        Call("bob", "7:1:3:bob", Contact("mail", "bob@example.invalid")),
        Call("ops", "7:1:3:ops", Contact("ops", "")),
    )


def test_an_urgent_page_has_the_key_of_its_channel_as_the_ordinary_path_gives_it() -> None:
    assert [call.dedup_key for call in calls("7:1:0", [ANN], ["mail"], urgent=True)] == ["7:1:0:ann:mail"]


def test_only_the_channels_that_the_settings_name_are_used() -> None:
    assert [call.contact.channel for call in calls("7:1:0", [ANN, BOB], ["ops"], urgent=False)] == ["ops"]


def test_a_page_that_was_written_keeps_its_key_on_every_channel() -> None:
    spread = by_every_channel(page(Contact("chat", "U1"), Contact("mail", "a@b.invalid")), ["chat", "ops"])

    assert [(call.dedup_key, call.contact) for call in spread.calls] == [
        ("7:1:0:ann", Contact("chat", "U1")),
        ("7:1:0:ann", Contact("ops", "")),
    ]
    assert by_every_channel(spread, ["chat", "ops"]) == spread


def test_what_is_settled_is_forgotten_but_for_its_chain_to_come_and_for_what_was_left_behind() -> None:
    ends, again = page(Contact("chat", "U1")), chain(due=30 * MINUTE)
    left = dataclasses.replace(ends, notification=replace(ends.notification, dedup_key="7:left:some-write:ann"))

    over = Deadlines((chain(), ends, left)).without({IncidentId(7): None})
    acknowledged = Deadlines((chain(), ends, left)).without({IncidentId(7): again})

    assert (over.all, acknowledged.all) == ((left,), (left, again))


def test_a_recovery_of_a_moment_does_not_end_an_outage() -> None:
    first = lost(None, MINUTE, "reset")
    again = lost(recovered(first, 2 * MINUTE), 2 * MINUTE + SECOND, "refused")
    later = lost(recovered(first, 2 * MINUTE), 2 * MINUTE + STEADY, "refused")

    assert again == Outage(MINUTE, "refused")
    assert later == Outage(2 * MINUTE + STEADY, "refused")


def test_an_outage_lasts_until_the_recovery_that_held() -> None:
    over = recovered(recovered(Outage(MINUTE, "reset"), 3 * MINUTE), 4 * MINUTE)

    assert over.lasted(9 * MINUTE) == 2 * MINUTE
    assert Outage(MINUTE, "reset").lasted(9 * MINUTE) == 8 * MINUTE
    assert not is_over(over, 3 * MINUTE + STEADY - SECOND)
    assert is_over(over, 3 * MINUTE + STEADY)
