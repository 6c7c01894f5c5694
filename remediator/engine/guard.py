"""diagnosed -> cleared: which fix, planned and rehearsed on the live API, and may it happen? Each no says why.

The first step whose `when` holds is planned; a step with nothing to do, or that the other system would refuse, is
passed over for the next. Then the guards judge, the strictest counts.
"""

from datetime import timedelta
from typing import assert_never

import msgspec
from msgspec.structs import replace

from remediator.actions import Action
from remediator.domain.errors import RemediatorError, Temporary
from remediator.domain.incident import Approval, AttemptResult, Incident, Move, PageOrder, Phase, Progress
from remediator.domain.ledger import Proposal
from remediator.domain.mode import Mode
from remediator.domain.plan import NoPlan, Plan
from remediator.domain.timeline import Entry, EntryKind
from remediator.domain.verdict import Allow, Ask, Deny, Hold
from remediator.engine import close, undo
from remediator.engine.desk import APPROVAL_LIFE, HOLD_AFTER_FAILURE, MOST_HOLDS, Desk
from remediator.engine.execution import new_intent, planned_by
from remediator.language.duration import format_duration
from remediator.rules.decide import Chosen, Judgement, choose_step, judge_all, with_approval
from remediator.rules.rule import FixStep, Rule
from remediator.rules.values import values_of

FACTS_LIFE = timedelta(minutes=2)
"""From a look to the choice of a fix it is seconds, or a lease where another replica takes over. What is older was
found before a stop or an outage: the pods that failed then may be healthy by now, and one of them would be deleted."""


class Planned(msgspec.Struct, frozen=True):
    """A step that the other system would accept."""

    step: FixStep
    action: Action
    plan: Plan
    entries: tuple[Entry, ...]


async def stage(incident: Incident, desk: Desk) -> Move:
    if not _are_facts_fresh(incident.progress, desk):
        return _look_again(incident)
    rule = await desk.read_rule(incident)
    values = values_of(incident, now=desk.clock())
    choice = choose_step(rule, values, incident.progress.attempts)
    if not isinstance(choice, Chosen):
        return _nothing_helps(incident, rule, desk, choice.entries)
    step = rule.fix[choice.index]
    incident = replace(incident, progress=replace(incident.progress, step=choice.index))
    try:
        action = step.build(values)
        planned = await _plan(step, action, incident, desk)
    except Temporary as error:
        return hold(incident, desk, f"cannot plan now: {error}", wait=HOLD_AFTER_FAILURE, entries=choice.entries)
    except RemediatorError as error:
        planned = (Entry(EntryKind.PLAN, f"passed over: {error}", step.path),)
    if isinstance(planned, tuple):
        return _pass_over(incident, (*choice.entries, *planned))
    ready = replace(planned, entries=(*choice.entries, *planned.entries))
    return await _judge(incident, rule, ready, desk)


def _are_facts_fresh(progress: Progress, desk: Desk) -> bool:
    found_at = progress.diagnosed_at
    return found_at is not None and desk.clock() - found_at <= FACTS_LIFE


def _look_again(incident: Incident) -> Move:
    """What a person approved stays approved, for its own time."""
    why = f"the facts are older than {format_duration(FACTS_LIFE)}: looking again before anything is done"
    return Move(Phase.OPENED, incident.progress, entries=(Entry(EntryKind.NOTE, why),))


async def _plan(step: FixStep, action: Action, incident: Incident, desk: Desk) -> Planned | tuple[Entry, ...]:
    """The entries alone where the step has nothing it can do."""
    plan = await action.plan(incident, desk.tools)
    if isinstance(plan, NoPlan):
        return (Entry(EntryKind.PLAN, f"passed over: {plan.reason}", step.path),)
    if plan.undo_after is not None and incident.progress.undo is not None:
        return (Entry(EntryKind.PLAN, "passed over: another leased fix is still to be taken back", step.path),)
    plan = planned_by(action, plan)
    told = Entry(EntryKind.PLAN, plan.summary, step.path, {"digest": plan.digest, "precondition": plan.precondition})
    answer = await action.rehearse(plan, desk.tools)
    heard = Entry(EntryKind.REHEARSAL, answer.detail, step.path, {"accepted": answer.accepted})
    return Planned(step, action, plan, (told, heard)) if answer.accepted else (told, heard)


async def _judge(incident: Incident, rule: Rule, planned: Planned, desk: Desk) -> Move:
    approved_by, lost = _approved_by(incident.progress.approval, planned, desk)
    proposal = Proposal(incident.rule, planned.plan.target, planned.plan, planned.step.path, approved_by)
    guards = (*desk.global_guards(), *rule.guards)
    ledger = await desk.read_ledger(incident, guards, proposal)
    judgement = judge_all(guards, proposal, ledger)
    judgement = with_approval(judgement, planned.step, proposal, at=ledger.now)
    entries = (*planned.entries, *lost, *judgement.entries)
    return _follow(incident, planned, judgement, desk, entries=entries)


def _approved_by(approval: Approval | None, planned: Planned, desk: Desk) -> tuple[str, tuple[Entry, ...]]:
    """Whose yes to this very plan counts, empty where nobody's does; and what is to be told of one that no longer does:
    whoever gave it thinks that the fix was made."""
    if approval is None:
        return "", ()
    digest = planned.plan.digest
    if approval.digest != digest:
        told = f"the plan {approval.digest} that {approval.by} approved is now {digest}: that yes is not for it"
    elif desk.clock() - approval.at > APPROVAL_LIFE:
        told = f"the approval by {approval.by} is older than {format_duration(APPROVAL_LIFE)} and no longer counts"
    else:
        return approval.by, ()
    return "", (Entry(EntryKind.APPROVAL, told, planned.step.path),)


def _follow(
    incident: Incident, planned: Planned, judgement: Judgement, desk: Desk, *, entries: tuple[Entry, ...]
) -> Move:
    verdict = judgement.verdict
    match verdict:
        case Allow():
            return _cleared(incident, planned, verdict, entries)
        case Ask():
            return _proposed(incident, planned, verdict.reason, desk, entries=entries)
        case Hold():
            return hold(incident, desk, verdict.reason, wait=verdict.wait, entries=entries)
        case Deny():
            return _denied(incident, planned, verdict.reason, desk, entries=entries)
        case never:
            assert_never(never)


def _cleared(incident: Incident, planned: Planned, verdict: Allow, entries: tuple[Entry, ...]) -> Move:
    intent = new_intent(incident, planned.step.path, planned.plan, action=planned.action, budgets=verdict.budgets)
    progress = replace(incident.progress, plan=planned.plan, intent=intent.id, held_until=None, last_word="")
    return Move(Phase.CLEARED, progress, entries=entries, intent=intent)


def _proposed(incident: Incident, planned: Planned, reason: str, desk: Desk, *, entries: tuple[Entry, ...]) -> Move:
    told = Entry(
        EntryKind.APPROVAL,
        f"waits for approval of plan {planned.plan.digest}: {planned.plan.summary} ({reason})",
        planned.step.path,
    )
    progress = replace(incident.progress, plan=planned.plan, proposed_at=desk.clock(), approval=None, held_until=None)
    wake_in = undo.in_time(progress, desk, wait=APPROVAL_LIFE)
    return Move(Phase.PROPOSED, progress, entries=(*entries, told), wake_in=wake_in, pages=PageOrder.NOW)


async def expire_proposal(incident: Incident, desk: Desk) -> Move:
    """Nobody approved in time, so the facts are looked at again; the chain of pages goes on meanwhile. Woken before, by
    an alert that joins or ends say, it waits on: the plan is as good as it was, and somebody may be reading it."""
    proposed_at = incident.progress.proposed_at
    left = proposed_at + APPROVAL_LIFE - desk.clock() if proposed_at is not None else timedelta()
    if left > timedelta():
        return Move(Phase.PROPOSED, incident.progress, wake_in=undo.in_time(incident.progress, desk, wait=left))
    told = Entry(EntryKind.APPROVAL, f"not approved within {format_duration(APPROVAL_LIFE)}: diagnosing afresh")
    afresh = replace(incident.progress, step=None, plan=None, proposed_at=None)
    return Move(Phase.OPENED, afresh, entries=(told,))


def hold(incident: Incident, desk: Desk, reason: str, *, wait: timedelta, entries: tuple[Entry, ...]) -> Move:
    """Looks again later, on fresh facts. A person is told now: waiting is not fixing. Woken before its time, by an
    alert that joins say, it waits on: a storm would use up all its holds before any budget could be free."""
    now, held_until = desk.clock(), incident.progress.held_until
    progress = replace(incident.progress, step=None, plan=None, approval=None)
    if held_until is not None and now < held_until:
        until = min(held_until, now + wait)
        wake_in = undo.in_time(progress, desk, wait=until - now)
        return Move(Phase.OPENED, replace(progress, held_until=until), wake_in=wake_in)
    entries = (*entries, *_given_up(incident.progress.approval, "the plan is made anew after the wait"))
    holds = progress.holds + 1
    progress = replace(progress, holds=holds, held_until=now + wait)
    if holds > MOST_HOLDS:
        move = close.handed_over(incident, desk, f"held {MOST_HOLDS} times, last: {reason}", progress=progress)
        return replace(move, entries=(*entries, *move.entries))
    told = Entry(EntryKind.NOTE, f"held for {format_duration(wait)}: {reason}")
    wake_in = undo.in_time(progress, desk, wait=wait)
    return Move(Phase.OPENED, progress, entries=(*entries, told), wake_in=wake_in, pages=PageOrder.NOW)


def _given_up(approval: Approval | None, why: str) -> tuple[Entry, ...]:
    if approval is None:
        return ()
    return (Entry(EntryKind.APPROVAL, f"the approval by {approval.by} no longer counts: {why}"),)


def _denied(incident: Incident, planned: Planned, reason: str, desk: Desk, *, entries: tuple[Entry, ...]) -> Move:
    dry_run = incident.mode is Mode.OBSERVE
    summary = f"would have done: {planned.plan.summary}" if dry_run else f"not done: {reason}"
    move = close.handed_over(incident, desk, summary)
    return replace(move, entries=(*entries, *move.entries))


def _pass_over(incident: Incident, entries: tuple[Entry, ...]) -> Move:
    """Straight on to the next step: the facts are seconds old."""
    progress = incident.progress.attempted(AttemptResult.PASSED_OVER, entries[-1].message)
    lost = _given_up(incident.progress.approval, "this step is passed over")
    return Move(Phase.DIAGNOSED, progress, entries=(*entries, *lost))


def _nothing_helps(incident: Incident, rule: Rule, desk: Desk, entries: tuple[Entry, ...]) -> Move:
    tried = [f"fix[{attempt.step}]: {attempt.why}" for attempt in incident.progress.attempts]
    left = "; ".join(["no other fix step applies" if tried else "no fix step applies", *tried])
    move = close.handed_over(incident, desk, left if rule.fix else "this rule only looks and pages")
    return replace(move, entries=(*entries, *move.entries))
