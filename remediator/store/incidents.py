"""Incidents: claimed under a lease with a fencing number, read and changed by people. Moves are in `moves`."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import structlog
from msgspec.structs import replace

from remediator.domain.alert import Alert
from remediator.domain.errors import NotAllowed, NotFound
from remediator.domain.ids import IncidentId, RuleName, RuleVersion
from remediator.domain.incident import WRITE_FOLLOWS, Approval, Incident, Phase, Status
from remediator.domain.mode import Mode
from remediator.domain.target import Target
from remediator.domain.timeline import Entry, EntryKind
from remediator.store import outbox, timeline
from remediator.store.database import Connection, clean
from remediator.store.documents import from_json, progress_from, progress_json, readable

log = structlog.get_logger()

# Of its own episodes and nothing else: EXISTS may be answered by hashing every episode there ever was, and a condition
# on closed_at by reading every open one.
FIRING = "COALESCE((SELECT bool_or(e.closed_at IS NULL) FROM episodes e WHERE e.incident_id = i.id), false)"
RECOVERED = "COALESCE((SELECT bool_and(e.recovered) FROM episodes e WHERE e.incident_id = i.id), true)"
ITS_OWN = "e.incident_id = i.id AND e.source = i.alert ->> 'source' AND e.fingerprint = i.alert ->> 'fingerprint'"
_FIRES_UNSILENCED = """COALESCE((
    SELECT bool_or(e.closed_at IS NULL AND e.suppressed_by = '') FROM episodes e WHERE {which}
), false)"""
ALERT_FIRES = _FIRES_UNSILENCED.format(which=ITS_OWN)
"""Of incident `i`. Facts about its episodes, read with it in one snapshot."""

_COLUMNS = f"""
    i.id, i.rule, i.rule_version, i.title, i.severity, i.mode, i.status, i.phase, i.alert::text AS alert,
    i.target::text AS target, i.progress::text AS progress, i.opened_at, i.acknowledged_by, i.resolved_at,
    i.resolution, i.epoch, i.lease_until, {{}}.nudges, {FIRING} AS firing, {RECOVERED} AS recovered,
    {ALERT_FIRES} AS alert_fires
"""

# Rules take turns, each with its longest overdue incident first: a storm of one rule must not starve another.
# The names of the rules with something due come from the index, one step a rule, in the order of their bytes: what an
# upgrade puts in another order may be passed over. More are picked than wanted, for other replicas pick the same ones.
# NO KEY: a page being written holds the row by its foreign key, and a claim must not pass it over for that. Each is
# looked up by itself: a join may read every incident that is due.
# The row that is claimed is the latest, also where it was changed since the statement began; what is said of its
# episodes is as old as the statement. So are the nudges, then, by which a move tells what its incident had seen.
_CLAIM = f"""
WITH RECURSIVE rules AS (
    (SELECT rule COLLATE "C" AS rule FROM incidents WHERE wake_at <= now() ORDER BY rule LIMIT 1)
    UNION ALL
    SELECT following.rule FROM rules r CROSS JOIN LATERAL (
        SELECT i.rule COLLATE "C" AS rule FROM incidents i WHERE i.wake_at <= now() AND i.rule > r.rule
        ORDER BY rule LIMIT 1
    ) following
), picked AS (
    SELECT p.id, p.wake_at, p.nudges, row_number() OVER (PARTITION BY r.rule ORDER BY p.wake_at) AS turn
    FROM rules r CROSS JOIN LATERAL (
        SELECT i.id, i.wake_at, i.nudges FROM incidents i
        WHERE i.rule = r.rule AND i.wake_at <= now() AND (i.lease_until IS NULL OR i.lease_until < now())
            AND i.phase = ANY($4)
        ORDER BY i.wake_at LIMIT 4 * $3
    ) p
), due AS (
    SELECT held.id, p.nudges FROM (SELECT id, nudges FROM picked ORDER BY turn, wake_at) p CROSS JOIN LATERAL (
        SELECT i.id FROM incidents i
        WHERE i.id = p.id AND i.wake_at <= now() AND (i.lease_until IS NULL OR i.lease_until < now())
            AND i.phase = ANY($4)
        FOR NO KEY UPDATE SKIP LOCKED
    ) held LIMIT $3
)
UPDATE incidents i SET epoch = i.epoch + 1, lease_owner = $1, lease_until = now() + $2
FROM due WHERE i.id = due.id
RETURNING {_COLUMNS.format("due")}
"""  # noqa: S608  # constants only


_PHASES = [phase for phase in Phase if phase is not Phase.LATER]


async def claim(tx: Connection, *, owner: str, lease: timedelta, limit: int) -> list[Incident]:
    """Those that are due and nobody else holds, rule by rule in turn; what a later release began is left to it. Each
    claim raises the fencing number. One that cannot be read stays leased: it is not tried round and round."""
    return readable(await tx.fetch(_CLAIM, owner, lease, limit, _PHASES), _incident)


async def release(tx: Connection, incident: Incident) -> None:
    """Gives the lease back early, if it is still ours."""
    await tx.execute(
        "UPDATE incidents SET lease_until = NULL WHERE id = $1 AND epoch = $2", incident.id, incident.epoch
    )


_READ = _COLUMNS.format("i")
_SELECT = f"SELECT {_READ} FROM incidents i WHERE"  # noqa: S608  # constants only


async def get(connection: Connection, incident: IncidentId) -> Incident:
    return _incident(await _row(connection, incident))


async def _row(connection: Connection, incident: IncidentId) -> Any:
    row = await connection.fetchrow(f"{_SELECT} i.id = $1", incident)
    if row is None:
        raise _no_such(incident)
    return row


def _no_such(incident: IncidentId) -> NotFound:
    return NotFound(f"there is no incident {incident}")


_NO_PROGRESS = {"progress": "{}"}
_NO_ALERT = {
    "alert": '{"source": "", "fingerprint": "", "status": "firing", "labels": {}, "starts_at": "1970-01-01T00:00:00Z"}',
    "target": None,
}


async def get_to_show(connection: Connection, incident: IncidentId) -> Incident:
    """For people to look at and to end, never to go on with: what cannot be read of it is left out."""
    return _to_show(await _row(connection, incident))


def _to_show(stored: Any) -> Incident:
    row = dict(stored)
    try:
        return _incident(row)
    except Exception as error:  # whatever another release, or a hand, has written there
        log.exception("a stored incident cannot be read, the rest is shown", incident=row["id"], error=str(error))
    for left_out in (_NO_PROGRESS, _NO_ALERT):
        with suppress(Exception):
            return _incident(row | left_out)
    return _incident(row | _NO_PROGRESS | _NO_ALERT)


async def get_readable(connection: Connection, numbers: Collection[IncidentId]) -> dict[IncidentId, Incident]:
    rows = await connection.fetch(f"{_SELECT} i.id = ANY($1::bigint[])", list(numbers))
    return {incident.id: incident for incident in readable(rows, _incident)}


async def list_incidents(connection: Connection, *, status: Status | None = None, limit: int = 50) -> list[Incident]:
    """To show, the newest first. The few open ones are found among themselves, however old they are."""
    among = "i.status <> 'resolved'" if status not in (None, Status.RESOLVED) else "true"
    rows = await connection.fetch(
        f"""SELECT {_READ} FROM incidents i WHERE ($1::text IS NULL OR i.status = $1) AND {among}
            ORDER BY i.opened_at DESC, i.id DESC LIMIT $2""",  # noqa: S608  # constants only
        status,
        limit,
    )
    return readable(rows, _to_show)


# What is said of an episode is less than what was said of its alert: annotations and links are not kept.
_STAND_IN = """
SELECT jsonb_build_object('source', source, 'fingerprint', fingerprint, 'status', 'firing', 'labels', labels,
    'starts_at', starts_at)::text
FROM episodes e WHERE incident_id = $1 AND closed_at IS NULL AND suppressed_by = '' ORDER BY starts_at, id LIMIT 1
"""


async def stand_in(connection: Connection, incident: IncidentId) -> Alert | None:
    """The one of its alerts that has fired for the longest and is not silenced, as far as it is kept."""
    found = await connection.fetchval(_STAND_IN, incident)
    return from_json(found, Alert) if found is not None else None


_HAND_ON = """
UPDATE incidents i SET alert = a.alert FROM jsonb_to_recordset($1) a(id bigint, alert jsonb) WHERE i.id = a.id
"""


async def hand_on(tx: Connection, alerts: Mapping[IncidentId, Alert]) -> None:
    """What the incidents are about from now on."""
    if alerts:
        await tx.execute(_HAND_ON, [{"id": incident, "alert": alert} for incident, alert in alerts.items()])


async def stop_paging(tx: Connection, numbers: Sequence[int]) -> None:
    """The chain first: whoever is ordering its pages is waited for, and they are stopped too."""
    if numbers:
        await tx.execute("UPDATE escalations SET due_at = NULL WHERE incident_id = ANY($1::bigint[])", list(numbers))
        await outbox.stop_pages(tx, numbers)


_HOLDS = "due_at = now() + (severity ->> 'acknowledged_for')::interval"
_HOLD_ANEW = f"""
UPDATE escalations SET {_HOLDS} WHERE incident_id = $1 AND (due_at <= now()) IS NOT TRUE RETURNING true
"""  # noqa: S608  # constants only


async def acknowledge(tx: Connection, incident: IncidentId, *, by: str) -> None:
    """Stops the chain for as long as the severity lets an acknowledgement hold, and what it has ordered and nobody has
    begun to send. Safe to repeat: the first name counts for as long as it holds, and each time it holds anew. Raises
    `NotAllowed` where it is over."""
    status = await _hold(tx, incident)
    if status is Status.RESOLVED:
        how = await tx.fetchval("SELECT resolution FROM incidents WHERE id = $1", incident)
        raise NotAllowed(f"incident {incident} is over ({how}): there is nothing to acknowledge")
    if status is Status.ACKNOWLEDGED and await tx.fetchval(_HOLD_ANEW, incident):
        told = f"acknowledged by {by} too: it holds anew"
    else:
        await _take(tx, incident, by=by)
        told = f"acknowledged by {by}"
    await timeline.append(tx, [(incident, Entry(EntryKind.ACKNOWLEDGED, told))])


async def _take(tx: Connection, incident: IncidentId, *, by: str) -> None:
    await tx.execute(
        """UPDATE incidents SET status = 'acknowledged', acknowledged_at = now(), acknowledged_by = $2,
               nudges = nudges + 1 WHERE id = $1""",
        incident,
        clean(by),
    )
    await tx.execute(
        f"UPDATE escalations SET run = run + 1, started_at = NULL, last_step = -1, {_HOLDS} WHERE incident_id = $1",  # noqa: S608  # constants only
        incident,
    )
    await outbox.stop_pages(tx, [incident])


async def resolve(tx: Connection, incident: IncidentId, *, by: str, note: str) -> bool:
    """Closed by a person; False where it was closed already. A leased fix is still taken back in its time, so the
    incident wakes once more; where a write may be under way, not before the lease it was begun under has run out."""
    if await _hold(tx, incident) is Status.RESOLVED:
        return False
    told = f"resolved by {by}" + (f": {note}" if note else "")
    await tx.execute(
        """UPDATE incidents SET status = 'resolved', phase = 'closed', resolved_at = now(), resolution = $2,
               wake_at = now(), lease_until = CASE WHEN phase = ANY($3::text[]) THEN lease_until END,
               epoch = epoch + 1, nudges = nudges + 1 WHERE id = $1""",
        incident,
        clean(told),
        WRITE_FOLLOWS,
    )
    await stop_paging(tx, [incident])
    await timeline.append(tx, [(incident, Entry(EntryKind.RESOLVED, told))])
    return True


async def approve(tx: Connection, incident: IncidentId, *, digest: str, by: str) -> None:
    """Raises `NotAllowed` where nothing waits for approval, or another plan does, or nobody can tell."""
    await _hold(tx, incident)
    row = await _row(tx, incident)
    try:
        current = _incident(row)
    except Exception as error:  # whatever another release, or a hand, has written there
        raise NotAllowed(
            f"incident {incident} cannot be read by this release: it can be acknowledged or resolved"
        ) from error
    plan = current.progress.plan
    if current.phase is not Phase.PROPOSED or plan is None:
        raise NotAllowed(f"incident {incident} has no plan that waits for approval (it is {current.phase})")
    if plan.digest != digest:
        raise NotAllowed(f"the plan is now {plan.digest}, not {digest}: read it again")
    now = await tx.fetchval("SELECT now()")
    progress = replace(
        current.progress, approval=Approval(digest, by, now), step=None, plan=None, last_word=f"approved by {by}"
    )
    await tx.execute(
        """UPDATE incidents SET phase = 'opened', progress = $2::text::jsonb, wake_at = now(), lease_until = NULL,
               epoch = epoch + 1, nudges = nudges + 1 WHERE id = $1""",
        incident,
        progress_json(progress),
    )
    await timeline.append(tx, [(incident, Entry(EntryKind.APPROVAL, f"plan {digest} approved by {by}"))])


async def _hold(tx: Connection, incident: IncidentId) -> Status:
    """Until the transaction ends. Nothing else is read: people can also stop what nobody can read any more."""
    status = await tx.fetchval("SELECT status FROM incidents WHERE id = $1 FOR NO KEY UPDATE", incident)
    if status is None:
        raise _no_such(incident)
    return Status(status)


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
        alert=from_json(row["alert"], Alert),
        target=from_json(row["target"], Target) if row["target"] is not None else None,
        opened_at=row["opened_at"],
        firing=row["firing"],
        recovered=row["recovered"],
        alert_fires=row["alert_fires"],
        progress=progress_from(row["progress"]),
        epoch=row["epoch"],
        lease_until=row["lease_until"],
        nudges=row["nudges"],
        acknowledged_by=row["acknowledged_by"],
        resolution=row["resolution"],
        resolved_at=row["resolved_at"],
    )
