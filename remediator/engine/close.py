"""How an incident ends, and how the automation lets go of one."""

from msgspec.structs import replace

from remediator.domain.incident import Incident, Move, PageOrder, Phase, Progress, Status
from remediator.domain.timeline import Entry, EntryKind
from remediator.engine import undo
from remediator.engine.desk import Desk


async def await_the_end(incident: Incident, desk: Desk) -> Move:
    """Nothing is left to do but to notice the end of the alert, and to take back a leased fix in time."""
    if incident.recovered and not incident.firing:
        return resolved(incident, desk, "the alert resolved", f"the alert {incident.alert.name} stopped firing")
    if incident.phase is Phase.HANDED_OVER and undo.is_due(incident, desk):
        return await undo.begin(incident, desk)
    if incident.firing:
        return stay(incident, desk)
    if incident.phase is Phase.HANDED_OVER:
        return stay(incident, desk)
    return handed_over(
        incident, desk, "the alert went away without a recovery (its data or its rule is gone): a person must look"
    )


def stay(incident: Incident, desk: Desk) -> Move:
    return Move(Phase.HANDED_OVER, incident.progress, wake_in=undo.due_in(incident.progress, desk))


def resolved(
    incident: Incident, desk: Desk, resolution: str, message: str, *, progress: Progress | None = None
) -> Move:
    left = _without_plan(progress or incident.progress)
    return Move(
        Phase.CLOSED,
        left,
        entries=(Entry(EntryKind.RESOLVED, message),),
        wake_in=undo.due_in(left, desk),
        status=Status.RESOLVED,
        resolution=resolution,
        pages=PageOrder.STOP,
    )


def handed_over(incident: Incident, desk: Desk, reason: str, *, progress: Progress | None = None) -> Move:
    """The automation is through without a proven fix: the escalation clock need not wait any longer."""
    left = _without_plan(progress or incident.progress)
    return Move(
        Phase.HANDED_OVER,
        left,
        entries=(Entry(EntryKind.NOTE, f"handed over to people: {reason}"),),
        wake_in=undo.due_in(left, desk),
        pages=PageOrder.NOW,
    )


def _without_plan(progress: Progress) -> Progress:
    return replace(progress, step=None, plan=None, intent=None, proposed_at=None, approval=None, held_until=None)
