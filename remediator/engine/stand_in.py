"""The alert that an incident was opened for has ended, or is silenced, and another of its alerts takes its place.

Labels fill in what a fix touches: those of an alert that is over would have it restart the pod that is well again.
"""

from msgspec.structs import replace

from remediator.domain.alert import Alert
from remediator.domain.incident import AttemptResult, Incident, Move, Phase
from remediator.domain.timeline import Entry, EntryKind


def takes_over(incident: Incident, alert: Alert) -> Move:
    """Everything is looked at and planned anew. What a person approved was for the other one."""
    tried = tuple(done for done in incident.progress.attempts if done.result is not AttemptResult.PASSED_OVER)
    afresh = replace(incident.progress, attempts=tried, step=None, plan=None, proposed_at=None, approval=None)
    told = f"{incident.alert.name} ended or is silenced, another alert goes on: {alert.name}, {alert.labels_told}"
    return Move(Phase.OPENED, afresh, entries=(Entry(EntryKind.NOTE, told),), alert=alert)
