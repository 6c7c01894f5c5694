"""The whole order of things, on one screen.

    opened -> diagnosed -> cleared -> fixed -> closed        each arrow is one Move, committed whole
                 |  ^         |         |
                 v  |         v         v
              proposed     handed_over <-- nothing helped, or nobody may: a person goes on
                                        \\-> undoing: a leased fix is taken back

A stage takes (incident, desk) and returns a `Move`. It never writes to our database; the worker commits. Those that go
on with a rule ask the desk for it: a rule that can no longer be read keeps no incident from its end.

No fix begins for an alert that has ended. Nor does one while a leased fix is to be taken back: asking and waiting could
go on for as long as the alert does. Nor one for an alert that has ended while another of the incident fires.
"""

from collections.abc import Awaitable, Callable, Mapping

from remediator.domain.incident import Incident, Move, Phase
from remediator.engine import close, diagnose, fix, guard, stand_in, undo, verify
from remediator.engine.desk import Desk

Stage = Callable[[Incident, Desk], Awaitable[Move]]


UNDO_FIRST = "the time of a leased fix that did not help is over: it is taken back, and no other is begun"


async def _await_the_end(incident: Incident, desk: Desk) -> Move:
    if not _needs_proof(incident):
        return await close.await_the_end(incident, desk)
    if not undo.is_due(incident, desk):
        return await verify.await_health(incident, desk)
    if incident.phase is Phase.HANDED_OVER:
        return await undo.begin(incident, desk)
    return close.handed_over(incident, desk, UNDO_FIRST)


def _needs_proof(incident: Incident) -> bool:
    """It would end with its alert, but something was done that did not help, and nobody has it in hand."""
    has_ended = incident.recovered and not incident.firing
    return has_ended and incident.progress.has_failed_proof and not incident.acknowledged_by


STAGES: Mapping[Phase, Stage] = {
    Phase.OPENED: diagnose.stage,
    Phase.DIAGNOSED: guard.stage,
    Phase.PROPOSED: guard.expire_proposal,
    Phase.CLEARED: fix.stage,
    Phase.FIXED: verify.stage,
    Phase.HANDED_OVER: _await_the_end,
    Phase.CLOSED: undo.stage,
    Phase.UNDOING: undo.take_back,
}

_NO_WRITE_UNDER_WAY = (Phase.OPENED, Phase.DIAGNOSED, Phase.PROPOSED)


async def next_move(incident: Incident, desk: Desk) -> Move:
    instead = await _instead_of_a_fix(incident, desk) if incident.phase in _NO_WRITE_UNDER_WAY else None
    return instead or await STAGES[incident.phase](incident, desk)


async def _instead_of_a_fix(incident: Incident, desk: Desk) -> Move | None:
    if not incident.firing:
        return await _await_the_end(incident, desk)
    if undo.is_due(incident, desk):
        return close.handed_over(incident, desk, UNDO_FIRST)
    other = await desk.read_stand_in(incident.id) if not incident.alert_fires else None
    return stand_in.takes_over(incident, other) if other is not None else None
