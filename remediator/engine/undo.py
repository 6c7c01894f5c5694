"""Taking back a leased fix ("scale to 6 for 45 minutes, then restore"). It is a write like any other: journalled,
fenced, under the kill switch; and it happens only if the world still shows what the fix left."""

import dataclasses
from datetime import timedelta

import structlog
from msgspec.structs import replace

from remediator.domain.ids import IntentId
from remediator.domain.incident import (
    Incident,
    Intent,
    IntentResult,
    IntentState,
    Move,
    PageOrder,
    PendingUndo,
    Phase,
    Progress,
)
from remediator.domain.plan import NoPlan
from remediator.domain.timeline import Entry, EntryKind
from remediator.engine.desk import Desk
from remediator.engine.execution import carry_out, new_intent, planned_by, revive

log = structlog.get_logger()

FIRST_RETRY = timedelta(seconds=30)
MOST_TRIES = 8
"""Each wait is twice the last: about two hours, in which an API server or a person's freeze comes to an end."""
UNTIL_SOMEBODY_CAN = timedelta(minutes=5)
"""Where this replica may only look; another may write."""


def due_in(progress: Progress, desk: Desk) -> timedelta | None:
    """When the incident must wake for its undo; None where there is nothing to take back."""
    if progress.undo is None:
        return None
    return max(progress.undo.at - desk.clock(), timedelta())


def in_time(progress: Progress, desk: Desk, *, wait: timedelta) -> timedelta:
    """That wait, or less where there is something to take back before it is over."""
    due = due_in(progress, desk)
    return wait if due is None else min(wait, due)


def is_due(incident: Incident, desk: Desk) -> bool:
    return due_in(incident.progress, desk) == timedelta()


def pending(intent: Intent, desk: Desk) -> PendingUndo | None:
    lease = intent.plan.undo_after
    return PendingUndo(intent.id, desk.clock() + lease) if lease is not None else None


async def stage(incident: Incident, desk: Desk) -> Move:
    """A closed incident wakes for its undo, and for a write that was under way when a person closed it."""
    if incident.progress.intent is not None:
        return await _settle(incident, incident.progress.intent, desk)
    if is_due(incident, desk):
        return await begin(incident, desk)
    return _rest(incident, incident.progress, desk)


async def _settle(incident: Incident, intent_id: IntentId, desk: Desk) -> Move:
    """Whatever that write did is told once, and a leased fix among it is taken back as if nobody had closed the
    incident."""
    before = await desk.read_intent(intent_id)
    result = await carry_out(before, incident, desk)
    left = replace(incident.progress, plan=None, intent=None)
    if before.intent.undoes is not None:
        left = replace(left, undo=_left_of(incident, result, desk))
    elif result.result is IntentState.DONE and left.undo is None:
        left = replace(left, undo=pending(before.intent, desk))
    move = replace(_rest(incident, left, desk), result=result)
    if _is_told(before.intent, incident):
        return move
    kind = EntryKind.FIX if before.intent.undoes is None else EntryKind.UNDO
    entry = Entry(kind, f"{result.result}: {result.detail}", before.intent.path, {"intent": result.id})
    return replace(move, entries=(entry,))


def _is_told(intent: Intent, incident: Incident) -> bool:
    """Only with the move of a fix does its intent stay with the incident, while it is verified. A result alone in the
    journal is of a move that was refused, as its incident was closed: nobody has told it."""
    return intent.undoes is None and incident.progress.fixed_at is not None


async def begin(incident: Incident, desk: Desk) -> Move:
    due = incident.progress.undo
    if due is None:
        return _rest(incident, incident.progress, desk)
    if desk.writers is None:
        return postponed(incident, "this daemon runs in observe mode and cannot write", wait=UNTIL_SOMEBODY_CAN)
    fixed = (await desk.read_intent(due.intent)).intent
    action = revive(fixed.plan)
    inverse = action.undo(fixed)
    if isinstance(inverse, NoPlan):
        return _given_up(incident, desk, inverse.reason)
    plan = planned_by(action, inverse)
    intent = new_intent(incident, f"{fixed.path}.undo", plan, action=action, undoes=fixed.id)
    return Move(
        Phase.UNDOING,
        replace(incident.progress, plan=plan, intent=intent.id),
        entries=(Entry(EntryKind.UNDO, plan.summary, intent.path),),
        intent=intent,
    )


async def take_back(incident: Incident, desk: Desk) -> Move:
    if incident.progress.intent is None:
        return _rest(incident, replace(incident.progress, undo=None), desk)
    result = await carry_out(await desk.read_intent(incident.progress.intent), incident, desk)
    left = replace(incident.progress, undo=_left_of(incident, result, desk), plan=None, intent=None)
    entry = Entry(EntryKind.UNDO, f"{result.result}: {result.detail}", data={"intent": result.id})
    pages = PageOrder.KEEP if result.result is IntentState.DONE else PageOrder.NOW
    return replace(_rest(incident, left, desk), entries=(entry,), result=result, pages=pages)


def _left_of(incident: Incident, result: IntentResult, desk: Desk) -> PendingUndo | None:
    """What failed is tried again, later each time: its plan still demands the world that the fix left."""
    due = incident.progress.undo
    if due is None or result.result is IntentState.DONE:
        return None
    left = _again(due, desk) if result.result is IntentState.FAILED else None
    if left is None:
        log.error("leased fix not taken back", incident=incident.id, state=result.result.value, detail=result.detail)
    return left


def _again(due: PendingUndo, desk: Desk) -> PendingUndo | None:
    if due.tries >= MOST_TRIES:
        return None
    return PendingUndo(due.intent, desk.clock() + FIRST_RETRY * 2**due.tries, due.tries + 1)


def put_off(incident: Incident, desk: Desk, *, because: str) -> Incident:
    """What raises while its undo is due would raise again at once: it is tried later, and not for ever; not at all
    where its own write is under way, which may be in the world."""
    due = incident.progress.undo
    if due is None or not is_due(incident, desk):
        return incident
    is_written = incident.progress.intent is not None and incident.phase in (Phase.UNDOING, Phase.CLOSED)
    left = None if is_written else _again(due, desk)
    if left is None:
        log.error("leased fix not taken back", incident=incident.id, detail=because)
    return replace(incident, progress=replace(incident.progress, undo=left))


def postponed(incident: Incident, reason: str, *, wait: timedelta) -> Move:
    """Told once: a kill switch may be on for days."""
    due = incident.progress.undo
    if due is None or due.waits_for == reason:
        return Move(incident.phase, incident.progress, wake_in=wait)
    progress = replace(incident.progress, undo=dataclasses.replace(due, waits_for=reason))
    return Move(
        incident.phase, progress, entries=(Entry(EntryKind.UNDO, f"not taken back yet: {reason}"),), wake_in=wait
    )


def _given_up(incident: Incident, desk: Desk, reason: str) -> Move:
    entry = Entry(EntryKind.UNDO, f"not taken back: {reason}")
    return replace(_rest(incident, replace(incident.progress, undo=None), desk), entries=(entry,))


def _rest(incident: Incident, progress: Progress, desk: Desk) -> Move:
    """An open one is looked at once more: its alert may have ended meanwhile, and nothing else would tell."""
    if incident.is_open:
        return Move(Phase.HANDED_OVER, progress, wake_in=timedelta())
    return Move(Phase.CLOSED, progress, wake_in=due_in(progress, desk))
