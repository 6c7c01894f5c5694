"""Incidents: claimed under a lease with a fencing number, changed by whole moves, read by people."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from remediator.domain.alert import Alert
from remediator.domain.errors import NotAllowed, NotFound, StaleFence
from remediator.domain.ids import IncidentId, RuleName, RuleVersion
from remediator.domain.incident import Approval, Incident, Move, PageOrder, Phase, Status
from remediator.domain.mode import Mode
from remediator.domain.target import Target
from remediator.domain.timeline import Entry, EntryKind
from remediator.store import intents
from remediator.store.database import Connection, clean
from remediator.store.documents import from_document, progress_document, progress_from, to_document

_COLUMNS = """
    i.id, i.rule, i.rule_version, i.title, i.severity, i.mode, i.status, i.phase, i.alert, i.target, i.progress,
    i.opened_at, i.acknowledged_by, i.resolved_at, i.resolution, i.epoch, i.nudges,
    COALESCE((SELECT true FROM episodes e WHERE e.incident_id = i.id AND e.closed_at IS NULL LIMIT 1), false) AS firing,
    COALESCE((SELECT false FROM episodes e WHERE e.incident_id = i.id AND NOT e.recovered LIMIT 1), true) AS recovered
"""
"""Not EXISTS: that may be answered by hashing every episode there ever was."""

# NO KEY: a page being written holds the row by its foreign key, and a claim must not pass it over for that.
_CLAIM = f"""
WITH due AS (
    SELECT id FROM incidents
    WHERE wake_at <= now() AND (lease_until IS NULL OR lease_until < now())
    ORDER BY wake_at LIMIT $3
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE incidents i SET epoch = i.epoch + 1, lease_owner = $1, lease_until = now() + $2
FROM due WHERE i.id = due.id
RETURNING {_COLUMNS}
"""  # noqa: S608  # constants only


async def claim(tx: Connection, *, owner: str, lease: timedelta, limit: int) -> list[Incident]:
    """Those that are due and nobody else holds. Each claim raises the fencing number."""
    return [_incident(row) for row in await tx.fetch(_CLAIM, owner, lease, limit)]


async def get(connection: Connection, incident: IncidentId) -> Incident:
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM incidents i WHERE i.id = $1", incident)  # noqa: S608
    if row is None:
        raise NotFound(f"there is no incident {incident}")
    return _incident(row)


async def list_incidents(connection: Connection, *, status: Status | None = None, limit: int = 50) -> list[Incident]:
    """The newest first. The few open ones are found among themselves, however old they are."""
    among = "i.status <> 'resolved'" if status not in (None, Status.RESOLVED) else "true"
    rows = await connection.fetch(
        f"""SELECT {_COLUMNS} FROM incidents i WHERE ($1::text IS NULL OR i.status = $1) AND {among}
            ORDER BY i.opened_at DESC, i.id DESC LIMIT $2""",  # noqa: S608  # constants only
        status,
        limit,
    )
    return [_incident(row) for row in rows]


async def timeline(connection: Connection, incident: IncidentId) -> list[Entry]:
    rows = await connection.fetch(
        "SELECT at, kind, path, message, data FROM timeline WHERE incident_id = $1 ORDER BY id", incident
    )
    return [Entry(EntryKind(r["kind"]), r["message"], r["path"], r["data"], r["at"]) for r in rows]


async def append_entries(tx: Connection, incident: IncidentId, entries: Sequence[Entry]) -> None:
    if not entries:
        return
    await tx.executemany(
        "INSERT INTO timeline (incident_id, kind, path, message, data) VALUES ($1, $2, $3, $4, $5)",
        [(incident, e.kind, clean(e.path), clean(e.message), to_document(e.data)) for e in entries],
    )


async def commit_move(tx: Connection, incident: Incident, move: Move, *, lease: timedelta) -> Incident:
    """Writes the whole move, or raises `StaleFence`, `BudgetSpent` or `NotAllowed` and writes nothing.

    The lease is kept, and renewed, while there is something to do at once. A nudge the move has not seen wakes
    the incident at once, whatever the move says.
    """
    await _hold_fence(tx, incident)
    if move.intent is not None:
        await intents.begin(tx, move.intent, epoch=incident.epoch)
    if move.result is not None:
        await intents.finish(tx, move.result)
    await append_entries(tx, incident.id, move.entries)
    await _order_pages(tx, incident.id, move.pages)
    goes_on = move.wake_in == timedelta() and move.phase is not Phase.CLOSED
    row = await tx.fetchrow(
        _MOVE,
        incident.id,
        move.phase,
        progress_document(move.progress),
        move.status,
        clean(move.resolution),
        move.wake_in,
        incident.nudges,
        lease if goes_on else None,
    )
    return _incident(row)


_MOVE = f"""
UPDATE incidents i SET
    phase = $2,
    progress = $3,
    status = COALESCE($4, i.status),
    resolution = CASE WHEN $5 = '' THEN i.resolution ELSE $5 END,
    resolved_at = CASE WHEN $4 = 'resolved' THEN COALESCE(i.resolved_at, now()) ELSE i.resolved_at END,
    wake_at = CASE WHEN i.nudges <> $7 THEN now() ELSE now() + $6::interval END,
    lease_until = now() + $8::interval
WHERE i.id = $1
RETURNING {_COLUMNS}
"""  # noqa: S608  # constants only


async def release(tx: Connection, incident: Incident) -> None:
    """Gives the lease back early, if it is still ours."""
    await tx.execute(
        "UPDATE incidents SET lease_until = NULL WHERE id = $1 AND epoch = $2", incident.id, incident.epoch
    )


async def _hold_fence(tx: Connection, incident: Incident) -> None:
    epoch = await tx.fetchval("SELECT epoch FROM incidents WHERE id = $1 FOR NO KEY UPDATE", incident.id)
    if epoch != incident.epoch:
        raise StaleFence(f"incident {incident.id}: claim {incident.epoch} was overtaken by claim {epoch}")


async def _order_pages(tx: Connection, incident: IncidentId, order: PageOrder) -> None:
    if order is PageOrder.STOP:
        await tx.execute("UPDATE escalations SET due_at = NULL WHERE incident_id = $1", incident)
    elif order is PageOrder.NOW:
        await tx.execute(
            """UPDATE escalations s SET due_at = LEAST(s.due_at, now()) FROM incidents i
               WHERE s.incident_id = $1 AND i.id = $1 AND i.status = 'triggered'
                 AND s.started_at IS NULL AND s.due_at IS NOT NULL""",
            incident,
        )


async def acknowledge(tx: Connection, incident: IncidentId, *, by: str) -> None:
    """Stops the chain for as long as the severity lets an acknowledgement hold. Safe to repeat."""
    current = await _locked(tx, incident)
    if current.status is not Status.TRIGGERED:
        return
    await tx.execute(
        """UPDATE incidents SET status = 'acknowledged', acknowledged_at = now(), acknowledged_by = $2,
               nudges = nudges + 1 WHERE id = $1""",
        incident,
        clean(by),
    )
    await tx.execute(
        """UPDATE escalations SET run = run + 1, started_at = NULL, last_step = -1,
               due_at = now() + (severity ->> 'acknowledged_for')::interval WHERE incident_id = $1""",
        incident,
    )
    await append_entries(tx, incident, [Entry(EntryKind.ACKNOWLEDGED, f"acknowledged by {by}")])


async def resolve(tx: Connection, incident: IncidentId, *, by: str, note: str) -> None:
    """Closed by a person. A leased fix is still taken back in its time, so the incident wakes once more."""
    current = await _locked(tx, incident)
    if not current.is_open:
        return
    told = f"resolved by {by}" + (f": {note}" if note else "")
    await tx.execute(
        """UPDATE incidents SET status = 'resolved', phase = 'closed', resolved_at = now(), resolution = $2,
               wake_at = now(), lease_until = NULL, epoch = epoch + 1, nudges = nudges + 1 WHERE id = $1""",
        incident,
        clean(told),
    )
    await _order_pages(tx, incident, PageOrder.STOP)
    await append_entries(tx, incident, [Entry(EntryKind.RESOLVED, told)])


async def approve(tx: Connection, incident: IncidentId, *, digest: str, by: str) -> None:
    """Raises `NotAllowed` where nothing waits for approval, or another plan does."""
    current = await _locked(tx, incident)
    plan = current.progress.plan
    if current.phase is not Phase.PROPOSED or plan is None:
        raise NotAllowed(f"incident {incident} has no plan that waits for approval (it is {current.phase})")
    if plan.digest != digest:
        raise NotAllowed(f"the plan is now {plan.digest}, not {digest}: read it again")
    now = await tx.fetchval("SELECT now()")
    progress = replace(current.progress, approval=Approval(digest, by, now), step=None, plan=None)
    await tx.execute(
        """UPDATE incidents SET phase = 'opened', progress = $2, wake_at = now(), lease_until = NULL,
               epoch = epoch + 1, nudges = nudges + 1 WHERE id = $1""",
        incident,
        progress_document(progress),
    )
    await append_entries(tx, incident, [Entry(EntryKind.APPROVAL, f"plan {digest} approved by {by}")])


async def _locked(tx: Connection, incident: IncidentId) -> Incident:
    await tx.execute("SELECT FROM incidents WHERE id = $1 FOR NO KEY UPDATE", incident)
    return await get(tx, incident)


def _incident(row: Any) -> Incident:
    return Incident(
        id=IncidentId(row["id"]),
        rule=RuleName(row["rule"]),
        rule_version=RuleVersion(row["rule_version"]),
        title=row["title"],
        severity=row["severity"],
        mode=Mode(row["mode"]),
        status=Status(row["status"]),
        phase=Phase(row["phase"]),
        alert=from_document(row["alert"], Alert),
        target=from_document(row["target"], Target) if row["target"] is not None else None,
        opened_at=row["opened_at"],
        firing=row["firing"],
        recovered=row["recovered"],
        progress=progress_from(row["progress"]),
        epoch=row["epoch"],
        nudges=row["nudges"],
        acknowledged_by=row["acknowledged_by"],
        resolution=row["resolution"],
        resolved_at=row["resolved_at"],
    )
