"""The escalation clock's rows: who is due to be paged, by the database's time."""

from dataclasses import dataclass, replace
from datetime import timedelta

from remediator.domain.escalation import EscalationPolicy, Severity
from remediator.domain.ids import IncidentId
from remediator.domain.incident import Incident, Status
from remediator.domain.timeline import Entry, EntryKind
from remediator.store import incidents
from remediator.store.database import Connection
from remediator.store.documents import from_document


@dataclass(frozen=True, slots=True)
class DueEscalation:
    incident: Incident
    policy: EscalationPolicy
    severity: Severity
    since_start: timedelta | None
    """Since the first page of this run of the chain; None: this is it."""
    run: int
    last_step: int


async def claim_due(tx: Connection, *, limit: int) -> list[DueEscalation]:
    """Locked until the transaction ends; `advance` in the same one. An expired acknowledgement is lifted here."""
    rows = await tx.fetch(
        """SELECT incident_id, policy, severity, now() - started_at AS since_start, run, last_step
           FROM escalations WHERE due_at <= now() ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED""",
        limit,
    )
    return [
        DueEscalation(
            incident=await _triggered(tx, IncidentId(row["incident_id"])),
            policy=from_document(row["policy"], EscalationPolicy),
            severity=from_document(row["severity"], Severity),
            since_start=row["since_start"],
            run=row["run"],
            last_step=row["last_step"],
        )
        for row in rows
    ]


async def advance(tx: Connection, incident: IncidentId, *, step: int, next_in: timedelta) -> None:
    await tx.execute(
        """UPDATE escalations SET started_at = COALESCE(started_at, now()), last_step = $2, due_at = now() + $3
           WHERE incident_id = $1""",
        incident,
        step,
        next_in,
    )


async def stop(tx: Connection, incident: IncidentId) -> None:
    await tx.execute("UPDATE escalations SET due_at = NULL WHERE incident_id = $1", incident)


async def _triggered(tx: Connection, incident_id: IncidentId) -> Incident:
    incident = await incidents.get(tx, incident_id)
    if incident.status is not Status.ACKNOWLEDGED:
        return incident
    await tx.execute(
        "UPDATE incidents SET status = 'triggered', acknowledged_by = '', nudges = nudges + 1 WHERE id = $1",
        incident_id,
    )
    told = f"the acknowledgement by {incident.acknowledged_by} has run out: the chain starts again"
    await incidents.append_entries(tx, incident_id, [Entry(EntryKind.PAGE, told, "escalate")])
    return replace(incident, status=Status.TRIGGERED, acknowledged_by="")
