"""The pure decisions: which step, may it happen, who must say yes. The engine and `explain` both ask here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from remediator.domain.budget import Budget
from remediator.domain.incident import Attempt
from remediator.domain.ledger import Ledger, Proposal
from remediator.domain.timeline import Entry, EntryKind
from remediator.domain.verdict import Allow, Ask, Deny, Hold, Verdict
from remediator.guards import Guard
from remediator.language.expression import EvaluationError
from remediator.rules.rule import FixStep, Rule


@dataclass(frozen=True, slots=True)
class Chosen:
    index: int
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class NoneApplies:
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    verdict: Verdict
    """The strictest of all."""
    entries: tuple[Entry, ...]
    budgets: tuple[Budget, ...] = ()
    """Of every guard that allowed it: reserved when the intent commits, also where a person had to say yes."""


def choose_step(rule: Rule, values: Mapping[str, object], attempts: Sequence[Attempt]) -> Chosen | NoneApplies:
    """The first step, not tried yet, whose condition holds. A condition without an answer is not met, and said."""
    if rule.fix and "target" not in values:
        return NoneApplies((Entry(EntryKind.PLAN, "no fix: the alert names no target that may be touched", "target"),))
    tried = {attempt.step for attempt in attempts}
    passed: list[Entry] = []
    for index, step in enumerate(rule.fix):
        if index in tried:
            continue
        reason = why_not(step, values)
        if reason is None:
            return Chosen(index, tuple(passed))
        passed.append(Entry(EntryKind.PLAN, reason, step.path))
    return NoneApplies(tuple(passed))


def why_not(step: FixStep, values: Mapping[str, object]) -> str | None:
    """None where the step applies."""
    if step.when is None:
        return None
    try:
        return None if step.when.evaluate(values) is True else f"not met: {step.when.source.strip()}"
    except EvaluationError as error:
        return f"not met, because it cannot be told: {error.reason} (in {step.when.source.strip()})"


def judge_all(guards: Sequence[Guard], proposal: Proposal, ledger: Ledger) -> Judgement:
    """All are heard, so that all reasons are told. Without guards there is nothing that allows it."""
    verdicts = [(guard, _verdict(guard, proposal, ledger)) for guard in guards]
    entries = tuple(_entry(guard, verdict) for guard, verdict in verdicts)
    budgets = merged(budget for _, verdict in verdicts if isinstance(verdict, Allow) for budget in verdict.budgets)
    strictest = max((verdict for _, verdict in verdicts), key=_rank, default=Deny("no guard is in force"))
    if isinstance(strictest, Allow):
        strictest = Allow("all guards allow it", budgets)
    return Judgement(strictest, entries, budgets)


def with_approval(judgement: Judgement, step: FixStep, proposal: Proposal, *, at: datetime) -> Judgement:
    """A person's yes answers an Ask and nothing stricter; a step, or its plan, may ask where the guards did not."""
    verdict = judgement.verdict
    if isinstance(verdict, Allow):
        reason = step.approval.demanded(at) or proposal.plan.needs_approval
        verdict = Ask(reason) if reason else verdict
    if not isinstance(verdict, Ask):
        return judgement
    if not proposal.approved_by:
        asked = Entry(EntryKind.APPROVAL, f"wants approval: {verdict.reason}", step.path)
        return replace(judgement, verdict=verdict, entries=(*judgement.entries, asked))
    told = Entry(EntryKind.APPROVAL, f"approved by {proposal.approved_by}: {verdict.reason}", step.path)
    allowed = Allow(f"approved by {proposal.approved_by}", judgement.budgets)
    return replace(judgement, verdict=allowed, entries=(*judgement.entries, told))


def merged(budgets: Iterable[Budget]) -> tuple[Budget, ...]:
    """The strictest limit of each window and of what counts towards it; what is spent is counted once a key, however
    many there are."""
    kept: dict[tuple[tuple[str, ...], timedelta], Budget] = {}
    for budget in budgets:
        known = kept.get((budget.keys, budget.within))
        kept[budget.keys, budget.within] = budget if known is None or budget.at_most < known.at_most else known
    return tuple(kept.values())


def _verdict(guard: Guard, proposal: Proposal, ledger: Ledger) -> Verdict:
    try:
        return guard.judge(proposal, ledger)
    except Exception as error:  # a guard that cannot answer has not said yes
        return Deny(f"the guard failed: {type(error).__name__}: {error}")


def _rank(verdict: Verdict) -> tuple[int, timedelta]:
    """Deny > Hold > Ask > Allow; of several holds the longest."""
    match verdict:
        case Deny():
            return 3, timedelta()
        case Hold():
            return 2, verdict.wait
        case Ask():
            return 1, timedelta()
        case Allow():
            return 0, timedelta()
        case never:
            assert_never(never)


def _entry(guard: Guard, verdict: Verdict) -> Entry:
    word = type(verdict).__name__.lower()
    return Entry(EntryKind.GUARD, f"{word}: {verdict.reason}", f"guard.{guard.yaml_name()}", {"verdict": word})
