"""Moves, committed many at a time: each whole or not at all, and only under the fencing number it was decided with.

One batch costs a dozen statements however many moves it holds.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from remediator.domain.errors import BudgetSpent, NotAllowed, Outdated, StaleFence
from remediator.domain.incident import Incident, Move, PageOrder, Status
from remediator.store import incidents, intents, timeline
from remediator.store.database import Connection, clean
from remediator.store.documents import progress_from, progress_json
from remediator.store.incidents import ALERT_FIRES, FIRING, RECOVERED
from remediator.store.intents import Begun

Refusal = StaleFence | Outdated | BudgetSpent | NotAllowed


class Decided(msgspec.Struct, frozen=True):
    incident: Incident
    """As it was claimed, or as the last move left it."""
    move: Move


async def commit(tx: Connection, decided: Sequence[Decided], *, lease: timedelta) -> list[Incident | Refusal]:
    """What each incident is afterwards, or why its move was refused; a refused move has written nothing.

    The lease is kept, and renewed, while there is something to do at once. A nudge the move has not seen wakes the
    incident at once, whatever the move says, and does not let it be resolved: an alert may have joined it.
    """
    refused = await _stale(tx, decided)
    refused |= await _begin_intents(tx, decided, refused)
    written = [one for position, one in enumerate(decided) if position not in refused]
    await intents.finish(tx, [one.move.result for one in written if one.move.result is not None])
    await _order_pages(tx, written)
    await incidents.hand_on(tx, {one.incident.id: one.move.alert for one in written if one.move.alert is not None})
    after = await _update(tx, written, lease)
    return [refused.get(position) or after[one.incident.id] for position, one in enumerate(decided)]


async def _stale(tx: Connection, decided: Sequence[Decided]) -> dict[int, Refusal]:
    """Holds the incidents' rows until the end of the transaction. Position -> why it was decided on what is no more."""
    rows = await tx.fetch(
        "SELECT id, epoch, nudges FROM incidents WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE",
        [one.incident.id for one in decided],
    )
    now = {row["id"]: row for row in rows}
    judged = ((position, _why_stale(one, now.get(one.incident.id))) for position, one in enumerate(decided))
    return {position: refusal for position, refusal in judged if refusal is not None}


def _why_stale(one: Decided, now: Any) -> StaleFence | Outdated | None:
    incident = one.incident
    if now is None or now["epoch"] != incident.epoch:
        latest = now["epoch"] if now is not None else None
        return StaleFence(f"incident {incident.id}: claim {incident.epoch} was overtaken by claim {latest}")
    if one.move.status is Status.RESOLVED and now["nudges"] != incident.nudges:
        return Outdated(f"incident {incident.id}: something happened while it was to be resolved")
    return None


async def _begin_intents(
    tx: Connection, decided: Sequence[Decided], refused: Mapping[int, Refusal]
) -> dict[int, Refusal]:
    wanted = {
        position: Begun(one.move.intent, one.incident.epoch)
        for position, one in enumerate(decided)
        if one.move.intent is not None and position not in refused
    }
    answers = await intents.begin(tx, list(wanted.values()))
    return {position: answer for position, answer in zip(wanted, answers, strict=True) if answer is not None}


_PAGE_NOW = """
UPDATE escalations s SET due_at = LEAST(s.due_at, now()) FROM incidents i
WHERE s.incident_id = ANY($1::bigint[]) AND i.id = s.incident_id AND i.status = 'triggered'
    AND s.started_at IS NULL AND s.due_at IS NOT NULL
"""


async def _order_pages(tx: Connection, written: Sequence[Decided]) -> None:
    await incidents.stop_paging(tx, [one.incident.id for one in written if one.move.pages is PageOrder.STOP])
    now = [one.incident.id for one in written if one.move.pages is PageOrder.NOW]
    if now:
        await tx.execute(_PAGE_NOW, now)


# What goes on at once stays due since when it was: a row whose indexed columns stay costs no entry in any index.
_UPDATE = f"""
WITH told AS ({timeline.APPEND.format(rows="$9")})
UPDATE incidents i SET
    phase = m.phase,
    progress = m.progress::jsonb,
    status = COALESCE(m.status, i.status),
    resolution = CASE WHEN m.resolution = '' THEN i.resolution ELSE m.resolution END,
    resolved_at = CASE WHEN m.status = 'resolved' THEN COALESCE(i.resolved_at, now()) ELSE i.resolved_at END,
    wake_at = CASE WHEN i.nudges <> m.nudges OR m.wake_in = '0' THEN LEAST(i.wake_at, now()) ELSE now() + m.wake_in END,
    lease_until = now() + m.lease
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::interval[], $7::bigint[], $8::interval[])
    m(id, phase, progress, status, resolution, wake_in, nudges, lease)
WHERE i.id = m.id
RETURNING i.id, i.status, i.resolution, i.resolved_at, i.acknowledged_by, i.lease_until, i.nudges,
    {FIRING} AS firing, {RECOVERED} AS recovered, {ALERT_FIRES} AS alert_fires
"""  # noqa: S608  # constants only


async def _update(tx: Connection, written: Sequence[Decided], lease: timedelta) -> dict[int, Incident]:
    """The incidents, and what their timelines say of it."""
    if not written:
        return {}
    moves = [one.move for one in written]
    progress = [progress_json(move.kept) for move in moves]
    rows = await tx.fetch(
        _UPDATE,
        [one.incident.id for one in written],
        [move.phase for move in moves],
        progress,
        [move.status for move in moves],
        [clean(move.resolution) for move in moves],
        [move.wake_in for move in moves],
        [one.incident.nudges for one in written],
        [lease if move.goes_on else None for move in moves],
        timeline.rows([(one.incident.id, entry) for one in written for entry in one.move.entries]),
    )
    now = {row["id"]: row for row in rows}
    return {
        one.incident.id: _after(one, stored, now[one.incident.id])
        for one, stored in zip(written, progress, strict=True)
    }


def _after(one: Decided, progress: str, row: Any) -> Incident:
    """The progress as it was stored: the next stage sees the same whether or not it is in another process."""
    return replace(
        one.incident,
        alert=one.move.alert or one.incident.alert,
        phase=one.move.phase,
        progress=progress_from(progress),
        status=Status(row["status"]),
        resolution=row["resolution"],
        resolved_at=row["resolved_at"],
        acknowledged_by=row["acknowledged_by"],
        lease_until=row["lease_until"],
        nudges=row["nudges"],
        firing=row["firing"],
        recovered=row["recovered"],
        alert_fires=row["alert_fires"],
    )
