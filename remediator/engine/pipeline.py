"""The whole order of things, on one screen.

    opened -> diagnosed -> cleared -> fixed -> closed        each arrow is one Move, committed whole
                 |  ^         |         |
                 v  |         v         v
              proposed     handed_over <-- nothing helped, or nobody may: a person goes on
                                        \\-> undoing: a leased fix is taken back

A stage takes (incident, rule, desk) and returns a `Move`. It never writes to our database; the worker commits.
An alert that ended before anything was done ends the incident, whatever the phase: a resolved alert never starts a fix.
Nor do its labels choose one while another alert of the incident fires: that one takes its place.
Nor does an incident whose leased fix is to be taken back: asking and waiting could go on for as long as the alert does.
"""

from collections.abc import Awaitable, Callable, Mapping

from remediator.domain.incident import Incident, Move, Phase
from remediator.engine import close, diagnose, fix, guard, stand_in, undo, verify
from remediator.engine.desk import Desk
from remediator.rules.rule import Rule

Stage = Callable[[Incident, Rule, Desk], Awaitable[Move]]

STAGES: Mapping[Phase, Stage] = {
    Phase.OPENED: diagnose.stage,
    Phase.DIAGNOSED: guard.stage,
    Phase.PROPOSED: guard.expire_proposal,
    Phase.CLEARED: fix.stage,
    Phase.FIXED: verify.stage,
    Phase.HANDED_OVER: close.await_the_end,
    Phase.CLOSED: undo.stage,
    Phase.UNDOING: undo.take_back,
}

_NOTHING_DONE_YET = (Phase.OPENED, Phase.DIAGNOSED, Phase.PROPOSED)
UNDO_FIRST = "the time of a leased fix that did not help is over: it is taken back, and no other is begun"


async def next_move(incident: Incident, rule: Rule, desk: Desk) -> Move:
    if incident.phase in _NOTHING_DONE_YET and not incident.firing:
        return await close.await_the_end(incident, rule, desk)
    if incident.phase in _NOTHING_DONE_YET and undo.is_due(incident, desk):
        return close.handed_over(incident, desk, UNDO_FIRST)
    if incident.phase in _NOTHING_DONE_YET and not incident.alert_fires:
        alert = await desk.read_stand_in(incident.id)
        if alert is not None:
            return stand_in.takes_over(incident, alert)
    return await STAGES[incident.phase](incident, rule, desk)
