"""The pure arithmetic that pages and budgets stand on."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from remediator.domain.alert import Alert, AlertStatus
from remediator.domain.budget import Budget
from remediator.domain.episode import EndedEpisode, Filing, OpenEpisode, file_alert
from remediator.domain.errors import BadPayload
from remediator.domain.escalation import Due, EscalationPolicy, EscalationStep, due_now
from remediator.domain.ids import EpisodeId, Fingerprint, SourceName
from remediator.domain.ledger import Reservation, free_in
from remediator.domain.oncall import Contact, Override, Person, Roster, Schedule, on_call
from remediator.domain.target import checked_target

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CHAIN = EscalationPolicy(
    "on-call",
    (EscalationStep(("primary",)), EscalationStep(("secondary",)), EscalationStep(("manager",))),
)


@pytest.mark.parametrize(
    ("minutes", "page", "step", "next_in"),
    [
        pytest.param(0, ("primary",), 0, 15, id="the first page"),
        pytest.param(15, ("secondary",), 1, 15, id="nobody acknowledged"),
        pytest.param(30, ("manager",), 2, 15, id="nor then"),
        pytest.param(37, ("manager",), 2, 8, id="late: the step that is current now, once"),
        pytest.param(45, ("primary", "secondary", "manager"), 3, 15, id="everybody, again and again"),
        pytest.param(60, ("primary", "secondary", "manager"), 4, 15, id="each repetition is a step of its own"),
    ],
)
def test_the_runbooks_chain(minutes: int, page: tuple[str, ...], step: int, next_in: int) -> None:
    due = due_now(CHAIN, minutes * MINUTE)

    assert (due.page, due.step, due.next_in) == (page, step, next_in * MINUTE)


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(days=400)))
def test_there_is_always_somebody_to_page_next_and_a_later_step_after_it(since: timedelta) -> None:
    due = due_now(CHAIN, since)
    following = due_now(CHAIN, since + due.next_in)

    assert due.page
    assert due.next_in > timedelta()
    assert following.step == due.step + 1


POLICIES = st.lists(st.integers(0, 3), min_size=1, max_size=6).map(
    lambda waits: EscalationPolicy(
        "p", tuple(EscalationStep((f"step {n}",), wait * MINUTE) for n, wait in enumerate(waits)), 5 * MINUTE
    )
)


@given(POLICIES)
@example(EscalationPolicy("p", (EscalationStep(("step 0",), timedelta()), EscalationStep(("step 1",)))))
def test_whoever_a_step_names_is_paged_when_the_waits_before_it_are_over(policy: EscalationPolicy) -> None:
    """As `remediator explain` says; a step that does not wait is paged together with the next one."""
    struck: dict[timedelta, Due] = {}
    since = timedelta()
    while since <= 18 * MINUTE:
        struck[since] = due_now(policy, since)
        since += struck[since].next_in

    after = timedelta()
    for step in policy.steps:
        assert set(step.page) <= set(struck[after].page)
        after += step.wait
    steps = [due.step for due in struck.values()]
    assert steps == sorted(set(steps))


def test_a_step_is_paged_with_those_before_it_that_do_not_wait_and_with_no_others() -> None:
    at_once = EscalationStep(("deputy",), timedelta())
    policy = EscalationPolicy("p", (EscalationStep(("primary",)), at_once, *CHAIN.steps[1:]))

    assert [due_now(policy, n * MINUTE).page for n in (0, 15, 30)] == [
        ("primary",),
        ("deputy", "secondary"),
        ("manager",),
    ]


WEEKLY = Schedule("primary", ("ann", "bob"), datetime(2026, 3, 23, 9), "Europe/Berlin")


@pytest.mark.parametrize(
    ("local", "who"),
    [
        pytest.param("2026-03-23T08:59", None, id="before it begins"),
        pytest.param("2026-03-23T09:00", "ann", id="from the very minute"),
        pytest.param("2026-03-30T08:59", "ann", id="a week with a lost hour ends at nine all the same"),
        pytest.param("2026-03-30T09:00", "bob", id="and then the next has it"),
        pytest.param("2026-10-26T09:00", "bob", id="after the hour came back"),
    ],
)
def test_a_rotation_hands_over_at_a_wall_clock_time(local: str, who: str | None) -> None:
    assert on_call(WEEKLY, datetime.fromisoformat(local).replace(tzinfo=ZoneInfo("Europe/Berlin"))) == who


@pytest.mark.parametrize("starts_on", ["2026-10-25T02:30", "2026-10-18T02:30"])
def test_what_was_handed_over_in_an_hour_that_comes_twice_stays_so(starts_on: str) -> None:
    schedule = Schedule("p", ("ann", "bob"), datetime.fromisoformat(starts_on), "Europe/Berlin")
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)  # 02:30, and once more an hour later

    before, *after = (on_call(schedule, first + n * MINUTE) for n in (-1, 0, 29, 30, 59, 60, 120))

    assert len(set(after)) == 1
    assert before not in after


def test_an_override_goes_before_the_rotation() -> None:
    schedule = Schedule("p", ("ann",), datetime(2026, 1, 1), overrides=(Override("eve", NOW, NOW + MINUTE),))

    assert [on_call(schedule, NOW + wait) for wait in (-MINUTE, timedelta(), MINUTE)] == ["ann", "eve", "ann"]


def test_a_name_that_is_nobody_is_told_apart_from_one_that_is() -> None:
    roster = Roster({"ann": Person("ann", "Ann", (Contact("mail", "a"),))}, {"gone": Schedule("gone", (), NOW)})

    assert [roster.recipient(name, NOW) is None for name in ("ann", "gone", "nobody")] == [False, True, True]


@pytest.mark.parametrize(("week", "who"), [(0, "manager"), (1, "deputy")])
def test_a_schedule_may_have_the_name_of_somebody_who_takes_part_in_it(week: int, who: str) -> None:
    people = {name: Person(name, name, (Contact("mail", name),)) for name in ("manager", "deputy")}
    schedule = Schedule("manager", ("manager", "deputy"), datetime(2026, 3, 2))

    found = Roster(people, {"manager": schedule}).recipient("manager", NOW + timedelta(days=1 + 7 * week))

    assert found is not None
    assert found.name == who


@given(
    st.lists(st.tuples(st.integers(0, 7_200), st.integers(1, 5)), max_size=20),
    st.integers(1, 10),
    st.integers(1, 3_600),
    st.integers(1, 5),
)
def test_a_budget_says_exactly_when_it_has_room(
    spent: list[tuple[int, int]], at_most: int, within: int, units: int
) -> None:
    budget = Budget("k", at_most, timedelta(seconds=within), min(units, at_most))
    past = tuple(Reservation("k", NOW - timedelta(seconds=ago), used) for ago, used in spent)

    wait = free_in(budget, past, NOW)

    if wait is not None:
        assert wait > timedelta()
        assert free_in(budget, past, NOW + wait) is None
        assert free_in(budget, past, NOW + wait - timedelta(microseconds=1)) is not None


def told(status: AlertStatus, *, starts: datetime = NOW, ends: datetime | None = None) -> Alert:
    return Alert(SourceName("am"), Fingerprint("f"), status, {"alertname": "a"}, starts, ends_at=ends)


FIRING, RESOLVED = AlertStatus.FIRING, AlertStatus.RESOLVED
OPEN = OpenEpisode(EpisodeId(1), NOW)
ENDED = EndedEpisode(NOW, NOW)


@pytest.mark.parametrize(
    ("alert", "open_episode", "ended", "now", "filing"),
    [
        pytest.param(told(FIRING), None, None, NOW, Filing.OPEN, id="new"),
        pytest.param(told(FIRING), OPEN, None, NOW, Filing.REFRESH, id="again"),
        pytest.param(told(FIRING, starts=NOW - MINUTE), OPEN, None, NOW, Filing.REFRESH, id="a start that moved"),
        pytest.param(told(RESOLVED, ends=NOW + MINUTE), OPEN, None, NOW, Filing.CLOSE, id="its end"),
        pytest.param(told(RESOLVED, ends=NOW - MINUTE), OPEN, None, NOW, Filing.STALE, id="an earlier one's end"),
        pytest.param(told(RESOLVED), None, None, NOW, Filing.UNKNOWN, id="the end of nothing"),
        pytest.param(told(FIRING), None, ENDED, NOW + MINUTE, Filing.STALE, id="late from the other peer"),
        pytest.param(told(FIRING), None, ENDED, NOW + 6 * MINUTE, Filing.OPEN, id="too late to be late"),
        pytest.param(told(FIRING, starts=NOW + MINUTE), None, ENDED, NOW + MINUTE, Filing.OPEN, id="fires anew"),
    ],
)
def test_what_an_alert_means_for_what_we_know(
    alert: Alert, open_episode: OpenEpisode | None, ended: EndedEpisode | None, now: datetime, filing: Filing
) -> None:
    assert file_alert(alert, open_episode=open_episode, last_ended=ended, now=now) is filing


@pytest.mark.parametrize(
    ("name", "namespace"),
    [("", "prod"), (None, "prod"), ("a/../b", "prod"), ("Back", "prod"), ("a", ""), ("a", "p/q"), ("a" * 300, "prod")],
)
def test_what_is_no_kubernetes_name_is_no_target(name: object, namespace: object) -> None:
    with pytest.raises(BadPayload):
        checked_target("deployment", name, namespace)
