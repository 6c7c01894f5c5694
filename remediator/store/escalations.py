"""The escalation clock's rows: who is due to be paged, by the database's time."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from msgspec import MsgspecError

from remediator.domain.errors import NotFound
from remediator.domain.escalation import EscalationPolicy, Severity
from remediator.domain.ids import IncidentId
from remediator.domain.incident import Incident
from remediator.domain.mode import Mode
from remediator.domain.timeline import Entry, EntryKind
from remediator.store import timeline
from remediator.store.database import Connection
from remediator.store.documents import each_once, from_json

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class DueAlike:
    """Escalations in the same circumstances: whom to page is decided once for all of them."""

    policy: EscalationPolicy
    severity: Severity
    mode: Mode
    since_start: timedelta | None
    """Since the first page of this run of the chain; None: this is it."""
    run: int
    incidents: Sequence[IncidentId]


class Struck(msgspec.Struct, frozen=True):
    """Deadlines that were dealt with: this step was paged, the next is due in so long."""

    incidents: Sequence[IncidentId]
    step: int
    next_in: timedelta


# LIMIT keeps the look-ups of the incidents apart, else they may become a join that reads every incident there is.
_DUE = """
SELECT e.policy::text AS policy, e.severity::text AS severity, e.since_start, e.run, i.mode, i.acknowledged_by,
    array_agg(e.incident_id) AS incidents
FROM (
    SELECT incident_id, policy, severity, now() - started_at AS since_start, run
    FROM escalations WHERE due_at <= now() AND started_at IS {} AND ($2::bigint IS NULL OR incident_id = $2)
    ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED
) e CROSS JOIN LATERAL (
    SELECT mode, CASE status WHEN 'acknowledged' THEN acknowledged_by END AS acknowledged_by
    FROM incidents WHERE id = e.incident_id LIMIT 1
) i
GROUP BY e.policy, e.severity, e.since_start, e.run, i.mode, i.acknowledged_by
"""
_FIRST_PAGES = _DUE.format("NULL")
_FURTHER_PAGES = _DUE.format("NOT NULL")


async def claim_due(tx: Connection, *, limit: int, of: IncidentId | None = None) -> list[DueAlike]:
    """First pages before repeated ones: whoever was never told waits longest. Locked until the transaction ends;
    `advance` in the same one. `of`: that incident's alone. An expired acknowledgement is lifted here, unless somebody
    is changing its incident at this moment: then the next look decides, on what they leave."""
    rows = await tx.fetch(_FIRST_PAGES, limit, of)
    left = limit - sum(len(row["incidents"]) for row in rows)
    if left > 0:
        rows += await tx.fetch(_FURTHER_PAGES, left, of)
    acknowledged = {
        number: row["acknowledged_by"]
        for row in rows
        if row["acknowledged_by"] is not None
        for number in row["incidents"]
    }
    in_hand = acknowledged.keys() - await _lift(tx, acknowledged)
    return [alike for alike in _alike(rows, without=in_hand) if alike.incidents]


_FIRST = """
SELECT incident_id FROM escalations WHERE due_at <= now() ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED
"""


async def hold_first(tx: Connection) -> IncidentId | None:
    """The one that is due longest, unread."""
    number: int | None = await tx.fetchval(_FIRST)
    return None if number is None else IncidentId(number)


async def put_off(tx: Connection, incident: IncidentId, wait: timedelta) -> None:
    """Nothing can be done for it as it is."""
    await tx.execute("UPDATE escalations SET due_at = now() + $2::interval WHERE incident_id = $1", incident, wait)


async def wants_a_page(tx: Connection, incident: IncidentId) -> bool:
    """Whatever its policy is: nobody has it, and it does more than look."""
    wanted: bool | None = await tx.fetchval(
        "SELECT status = 'triggered' AND mode <> 'observe' FROM incidents WHERE id = $1", incident
    )
    return bool(wanted)


_NEXT = """
SELECT due_at - now() FROM escalations WHERE due_at > now() AND due_at < now() + $1::interval ORDER BY due_at LIMIT 1
"""


async def next_due_in(connection: Connection, *, at_most: timedelta) -> timedelta:
    """Until the next deadline strikes; `at_most` where none does before."""
    until: timedelta | None = await connection.fetchval(_NEXT, at_most)
    return at_most if until is None else until


_ADVANCE = """
UPDATE escalations e SET started_at = COALESCE(e.started_at, now()), last_step = s.step, due_at = now() + s.next_in
FROM jsonb_to_recordset($1) s(incidents bigint[], step int, next_in interval), unnest(s.incidents) incident
WHERE e.incident_id = incident
"""


async def advance(tx: Connection, struck: Sequence[Struck]) -> None:
    if struck:
        await tx.execute(_ADVANCE, struck)


async def from_the_start(connection: Connection, incident: Incident) -> DueAlike:
    """As if its chain began now, whether it runs or has been stopped."""
    row = await connection.fetchrow(
        "SELECT policy::text AS policy, severity::text AS severity, run FROM escalations WHERE incident_id = $1",
        incident.id,
    )
    if row is None:
        raise NotFound(f"incident {incident.id} has no escalation")
    policy, severity = from_json(row["policy"], EscalationPolicy), from_json(row["severity"], Severity)
    return DueAlike(policy, severity, incident.mode, since_start=None, run=row["run"], incidents=[incident.id])


async def severity_to_show(connection: Connection, incident: IncidentId) -> Severity | None:
    """As it was defined when the incident came to have it. None where it cannot be read."""
    text = await connection.fetchval("SELECT severity::text FROM escalations WHERE incident_id = $1", incident)
    try:
        return from_json(text, Severity) if text is not None else None
    except MsgspecError as error:  # stored by another release, or by hand
        log.warning("a stored severity cannot be read, it is not shown", incident=incident, error=str(error))
        return None


def _alike(rows: Sequence[Any], *, without: Collection[int]) -> list[DueAlike]:
    policies = each_once((row["policy"] for row in rows), EscalationPolicy)
    severities = each_once((row["severity"] for row in rows), Severity)
    return [
        DueAlike(
            policies[row["policy"]],
            severities[row["severity"]],
            Mode(row["mode"]),
            row["since_start"],
            row["run"],
            [IncidentId(number) for number in row["incidents"] if number not in without],
        )
        for row in rows
    ]


# Everybody else locks an incident before its deadline. We hold the deadline already, so we must not wait for it.
_LIFT = """
UPDATE incidents i SET status = 'triggered', acknowledged_by = '', nudges = nudges + 1
FROM (SELECT id FROM incidents WHERE id = ANY($1::bigint[]) FOR NO KEY UPDATE SKIP LOCKED) k
WHERE i.id = k.id RETURNING i.id
"""


async def _lift(tx: Connection, acknowledged: Mapping[int, str]) -> set[int]:
    """Incident -> by whom; gives those that were lifted."""
    if not acknowledged:
        return set()
    lifted = {row["id"] for row in await tx.fetch(_LIFT, list(acknowledged))}
    told = "the acknowledgement by {} has run out: the chain starts again"
    await timeline.append(
        tx,
        [
            (number, Entry(EntryKind.PAGE, told.format(acknowledged[number]), "escalate"))
            for number in acknowledged.keys() & lifted
        ],
    )
    return lifted
