"""The pure decisions: the first step that applies, the strictest guard, and whose yes it takes."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.actions import Action
from remediator.domain.budget import Budget
from remediator.domain.ids import RuleName, RuleVersion, StepPath
from remediator.domain.incident import Attempt, AttemptResult
from remediator.domain.ledger import Ledger, Proposal
from remediator.domain.verdict import Allow, Ask, Deny, Hold, Verdict
from remediator.guards import Guard
from remediator.language.expression import CelType, Scope
from remediator.language.template import Constant, MappingValue
from remediator.rules.approval import Approval, ApprovalNeed, BusinessHours
from remediator.rules.decide import Chosen, NoneApplies, choose_step, judge_all, merged, with_approval
from remediator.rules.rule import FixStep, Rule
from tests.guards.proposals import NOW, ledger, propose

SCOPE = Scope({"diagnose.pods.failing": CelType.INT, "diagnose.pods.names": CelType.list_of(CelType.STRING)})
TARGETED = {"target": {"name": "backend"}}


def step(when: str | None = None, *, number: int = 0, approve: ApprovalNeed = ApprovalNeed.NEVER) -> FixStep:
    condition = SCOPE.condition(when) if when is not None else None
    return FixStep(StepPath(f"fix[{number}]"), Action, MappingValue({}), condition, Approval(approve, BusinessHours()))


def rule(*steps: str | None) -> Rule:
    return Rule(
        name=RuleName("service-down"),
        version=RuleVersion("1"),
        document={},
        file="",
        summary="",
        matchers=(),
        severity=Constant("sev1"),
        fix=tuple(step(when, number=number) for number, when in enumerate(steps)),
    )


@pytest.mark.parametrize(
    ("steps", "values", "tried", "chosen", "said"),
    [
        pytest.param(("diagnose.pods.failing > 0", None), {"diagnose.pods.failing": 1}, [], 0, [], id="it holds"),
        pytest.param(
            ("diagnose.pods.failing > 0", None),
            {"diagnose.pods.failing": 0},
            [],
            1,
            ["not met: diagnose.pods.failing > 0"],
            id="it does not hold, so the next",
        ),
        pytest.param((None, None), {}, [0], 1, [], id="the first was tried"),
        pytest.param((None,), {}, [0], None, [], id="all were tried"),
        pytest.param((), {}, [], None, [], id="no fix at all"),
    ],
)
def test_the_first_untried_step_whose_condition_holds_is_chosen(
    steps: tuple[str | None, ...], values: Mapping[str, object], tried: list[int], chosen: int | None, said: list[str]
) -> None:
    attempts = [Attempt(each, AttemptResult.INEFFECTIVE) for each in tried]

    choice = choose_step(rule(*steps), {**TARGETED, **values}, attempts)

    assert (choice.index if isinstance(choice, Chosen) else None) == chosen
    assert [entry.message for entry in choice.entries] == said


def test_a_condition_without_an_answer_is_not_met_and_that_is_said() -> None:
    choice = choose_step(rule("diagnose.pods.failing == 0"), TARGETED, [])

    assert isinstance(choice, NoneApplies)
    assert choice.entries[0].path == "fix[0]"
    assert choice.entries[0].message.startswith("not met, because it cannot be told: ")


def test_without_a_target_nothing_is_touched() -> None:
    choice = choose_step(rule(None), {}, [])

    assert isinstance(choice, NoneApplies)
    assert choice.entries[0].message == "no fix: the alert names no target that may be touched"


class Says(Guard):
    """Gives the verdict it was made with."""

    verdict: object

    def judge(self, proposal: Proposal, ledger: Ledger) -> Verdict:
        return self.verdict  # type: ignore[return-value]


class Fails(Guard):
    """Cannot answer."""

    def judge(self, proposal: Proposal, ledger: Ledger) -> Verdict:
        raise KeyError("pods")


BUDGET = Budget("attempts/a", 2, timedelta(hours=4))
ALLOW, ASK, DENY = Allow("fine", (BUDGET,)), Ask("hm"), Deny("no")
SHORT, LONG = Hold("wait", timedelta(minutes=1)), Hold("wait longer", timedelta(minutes=9))


def judge(*verdicts: Verdict) -> Verdict:
    return judge_all([Says(verdict=verdict) for verdict in verdicts], propose(), ledger()).verdict


@pytest.mark.parametrize(
    ("verdicts", "strictest"),
    [
        ((ALLOW, ASK), ASK),
        ((ASK, SHORT), SHORT),
        ((SHORT, LONG, ASK), LONG),
        ((LONG, DENY, ALLOW), DENY),
        ((ALLOW, ALLOW), Allow("all guards allow it", (BUDGET,))),
        ((), Deny("no guard is in force")),
    ],
)
def test_the_strictest_verdict_counts(verdicts: tuple[Verdict, ...], strictest: Verdict) -> None:
    assert judge(*verdicts) == strictest


@given(st.permutations([ALLOW, ASK, SHORT, LONG, DENY]))
def test_the_order_of_guards_does_not_matter(verdicts: list[Verdict]) -> None:
    assert judge(*verdicts) == DENY


def test_a_guard_that_cannot_answer_has_not_said_yes() -> None:
    judgement = judge_all([Says(verdict=ALLOW), Fails()], propose(), ledger())

    assert judgement.verdict == Deny("the guard failed: KeyError: 'pods'")


def test_every_guard_is_heard_and_told() -> None:
    judgement = judge_all([Says(verdict=DENY), Says(verdict=ALLOW)], propose(), ledger())

    assert [entry.message for entry in judgement.entries] == ["deny: no", "allow: fine"]


def test_the_same_budget_is_reserved_once_under_the_strictest_limit() -> None:
    loose, strict = Budget("k", 5, timedelta(hours=1)), Budget("k", 3, timedelta(hours=1))

    assert merged([loose, strict, BUDGET]) == (strict, BUDGET)


def test_a_budget_with_two_windows_is_kept_within_both() -> None:
    hour, day = Budget("k", 1, timedelta(hours=1)), Budget("k", 5, timedelta(days=1))

    assert merged([hour, day]) == (hour, day)


def test_a_limit_that_more_counts_towards_takes_the_place_of_none() -> None:
    keys = Budget("keys", 5, timedelta(hours=1))
    together = Budget("keys", 3, timedelta(hours=1), beside=("pods",))

    assert merged([keys, together]) == (keys, together)


IN_HOURS = NOW  # a Monday, 10:00 UTC
AT_NIGHT = datetime(2026, 1, 5, 3, 0, tzinfo=UTC)
ON_SUNDAY = datetime(2026, 1, 4, 10, 0, tzinfo=UTC)
ALWAYS, OUTSIDE, NEVER = ApprovalNeed.ALWAYS, ApprovalNeed.OUTSIDE_BUSINESS_HOURS, ApprovalNeed.NEVER


@pytest.mark.parametrize(
    ("said", "need", "at", "approved_by", "verdict"),
    [
        pytest.param(ALLOW, NEVER, AT_NIGHT, "", Allow, id="nobody need be asked"),
        pytest.param(ALLOW, ALWAYS, IN_HOURS, "", Ask, id="always asks"),
        pytest.param(ALLOW, ALWAYS, IN_HOURS, "alice", Allow, id="always, and somebody said yes"),
        pytest.param(ALLOW, OUTSIDE, IN_HOURS, "", Allow, id="within business hours"),
        pytest.param(ALLOW, OUTSIDE, AT_NIGHT, "", Ask, id="at night"),
        pytest.param(ALLOW, OUTSIDE, ON_SUNDAY, "", Ask, id="on a Sunday"),
        pytest.param(ASK, NEVER, IN_HOURS, "", Ask, id="a guard asks"),
        pytest.param(ASK, NEVER, IN_HOURS, "alice", Allow, id="a guard asks, and somebody said yes"),
        pytest.param(SHORT, ALWAYS, IN_HOURS, "alice", Hold, id="a yes does not shorten a wait"),
        pytest.param(DENY, NEVER, IN_HOURS, "alice", Deny, id="a yes does not overrule a no"),
    ],
)
def test_whose_yes_it_takes(
    said: Verdict, need: ApprovalNeed, at: datetime, approved_by: str, verdict: type[Verdict]
) -> None:
    proposal = propose(approved_by=approved_by)
    judgement = judge_all([Says(verdict=said)], proposal, ledger())

    assert isinstance(with_approval(judgement, step(approve=need), proposal, at=at).verdict, verdict)


def test_an_approved_fix_still_reserves_its_budgets() -> None:
    proposal = propose(approved_by="alice")
    judgement = judge_all([Says(verdict=ALLOW), Says(verdict=ASK)], proposal, ledger())

    assert with_approval(judgement, step(), proposal, at=NOW).verdict == Allow("approved by alice", (BUDGET,))
