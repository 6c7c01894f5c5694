"""The escalation clock's rows: who is due to be paged, by the database's time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from remediator.domain.escalation import EscalationPolicy, Severity
from remediator.domain.ids import IncidentId
from remediator.domain.incident import Incident, Status
from remediator.domain.timeline import Entry, EntryKind
from remediator.store import incidents, timeline
from remediator.store.database import Connection
from remediator.store.documents import from_json


@dataclass(frozen=True, slots=True)
class DueEscalation:
    incident: Incident
    policy: EscalationPolicy
    severity: Severity
    since_start: timedelta | None
    """Since the first page of this run of the chain; None: this is it."""
    run: int
    last_step: int


@dataclass(frozen=True, slots=True)
class Struck:
    """A deadline that was dealt with: this step was paged, the next is due in so long."""

    incident: IncidentId
    step: int
    next_in: timedelta


_DUE = """
SELECT incident_id, policy::text AS policy, severity::text AS severity, now() - started_at AS since_start, run,
    last_step
FROM escalations WHERE due_at <= now() AND started_at IS {} ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
"""
_FIRST_PAGES = _DUE.format("NULL")
_FURTHER_PAGES = _DUE.format("NOT NULL")


async def claim_due(tx: Connection, *, limit: int) -> list[DueEscalation]:
    """First pages before repeated ones: whoever was never told waits longest. Locked until the transaction ends;
    `advance` in the same one. An expired acknowledgement is lifted here."""
    rows = await tx.fetch(_FIRST_PAGES, limit)
    if len(rows) < limit:
        rows += await tx.fetch(_FURTHER_PAGES, limit - len(rows))
    if not rows:
        return []
    found = await incidents.get_many(tx, [row["incident_id"] for row in rows])
    await _lift(tx, [incident for incident in found.values() if incident.status is Status.ACKNOWLEDGED])
    return [_due(row, _triggered(found[row["incident_id"]])) for row in rows]


_ADVANCE = """
UPDATE escalations e SET started_at = COALESCE(e.started_at, now()), last_step = s.step, due_at = now() + s.next_in
FROM unnest($1::bigint[], $2::int[], $3::interval[]) s(incident_id, step, next_in)
WHERE e.incident_id = s.incident_id
"""


async def advance(tx: Connection, struck: Sequence[Struck]) -> None:
    if struck:
        await tx.execute(_ADVANCE, [s.incident for s in struck], [s.step for s in struck], [s.next_in for s in struck])


def _due(row: Any, incident: Incident) -> DueEscalation:
    return DueEscalation(
        incident=incident,
        policy=from_json(row["policy"], EscalationPolicy),
        severity=from_json(row["severity"], Severity),
        since_start=row["since_start"],
        run=row["run"],
        last_step=row["last_step"],
    )


async def _lift(tx: Connection, acknowledged: Sequence[Incident]) -> None:
    if not acknowledged:
        return
    await tx.execute(
        """UPDATE incidents SET status = 'triggered', acknowledged_by = '', nudges = nudges + 1
           WHERE id = ANY($1::bigint[])""",
        [incident.id for incident in acknowledged],
    )
    told = "the acknowledgement by {} has run out: the chain starts again"
    await timeline.append(
        tx, [(i.id, Entry(EntryKind.PAGE, told.format(i.acknowledged_by), "escalate")) for i in acknowledged]
    )


def _triggered(incident: Incident) -> Incident:
    if incident.status is not Status.ACKNOWLEDGED:
        return incident
    return replace(incident, status=Status.TRIGGERED, acknowledged_by="")
