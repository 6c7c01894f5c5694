"""cleared -> fixed: the one journalled write. What it may have done is looked up in the world, never repeated."""

from datetime import timedelta
from typing import assert_never

from msgspec.structs import replace

from remediator.domain.incident import (
    AttemptResult,
    Incident,
    Intent,
    IntentResult,
    IntentState,
    Move,
    PageOrder,
    Phase,
)
from remediator.domain.timeline import Entry, EntryKind
from remediator.engine import close, undo
from remediator.engine.desk import Desk
from remediator.engine.execution import carry_out


async def stage(incident: Incident, desk: Desk) -> Move:
    if incident.progress.intent is None:
        return _let_go(incident, desk, "the journal names no intent for this phase; nothing was written")
    journalled = await desk.read_intent(incident.progress.intent)
    result = await carry_out(journalled, incident, desk)
    path = f"fix[{incident.progress.step}]"
    entry = Entry(EntryKind.FIX, f"{result.result}: {result.detail}", path, {"intent": result.id})
    return replace(_after(result, journalled.intent, incident, desk=desk), entries=(entry,), result=result)


def _after(result: IntentResult, intent: Intent, incident: Incident, *, desk: Desk) -> Move:
    match result.result:
        case IntentState.DONE:
            leased = incident.progress.undo or undo.pending(intent, desk)
            fixed = replace(incident.progress, fixed_at=desk.clock(), undo=leased)
            return Move(Phase.FIXED, fixed)
        case IntentState.FAILED:
            tried = incident.progress.attempted(AttemptResult.FAILED, result.detail)
            return Move(Phase.OPENED, tried, pages=PageOrder.NOW)
        case IntentState.UNKNOWN:
            tried = incident.progress.attempted(AttemptResult.UNKNOWN, result.detail)
            unsure = replace(incident, progress=replace(tried, unsure_of=result.id))
            return _let_go(unsure, desk, "a write may or may not have happened")
        case IntentState.BEGUN:
            return _let_go(incident, desk, "the write was begun and never reported")
        case never:
            assert_never(never)


def _let_go(incident: Incident, desk: Desk, reason: str) -> Move:
    """It is looked at once more: its alert may have ended before we came to look for the write, and tells so once."""
    return replace(close.handed_over(incident, desk, reason), wake_in=timedelta())
