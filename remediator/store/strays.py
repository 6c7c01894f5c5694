"""Open episodes that nobody works on: no rule wanted them when they came, or their incident was closed under them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import msgspec

from remediator.domain.alert import Alert, AlertStatus
from remediator.domain.errors import Outdated
from remediator.domain.ids import EpisodeId, Fingerprint, IncidentId, SourceName
from remediator.store.database import Connection

A_FETCH = 1_000


class Stray(msgspec.Struct, frozen=True):
    episode: EpisodeId
    alert: Alert
    """Its annotations are known where it was the first of the incident that was closed."""
    closed: IncidentId | None
    """That incident; None: there never was one."""
    began_anew: bool
    """It began after that incident was closed, and was told; else it merely goes on."""


# By so much at least the clock of whoever told of it is ahead of ours: else what goes on would seem to begin anew.
_AHEAD = "GREATEST((i.alert ->> 'starts_at')::timestamptz - i.opened_at, '0')"
_BEGAN_ANEW = f"(e.last_seen_at > i.resolved_at AND e.starts_at - {_AHEAD} > i.resolved_at)"
# Only what is open is read, and of incidents those alone: a join might read every incident that there ever was.
_STRAY = f"""
SELECT e.id, e.source, e.fingerprint, e.labels, e.starts_at, e.incident_id, {_BEGAN_ANEW} IS TRUE AS began_anew,
    CASE WHEN i.alert ->> 'fingerprint' = e.fingerprint THEN i.alert -> 'annotations' END AS annotations
FROM episodes e LEFT JOIN LATERAL (
    SELECT status, opened_at, resolved_at, alert FROM incidents WHERE id = e.incident_id LIMIT 1
) i ON true
WHERE e.closed_at IS NULL AND {{}}
"""  # noqa: S608  # constants only
_UNWANTED = _STRAY.format("e.incident_id IS NULL")
_OUTLIVING = _STRAY.format(
    f"""e.incident_id IS NOT NULL AND i.status = 'resolved'
    AND (e.last_seen_at > i.resolved_at + $1::interval OR {_BEGAN_ANEW})"""
)
_THESE = _STRAY.format("e.id = ANY($1::bigint[]) AND (e.incident_id IS NULL OR i.status = 'resolved')")


async def unwanted(tx: Connection) -> AsyncIterator[Stray]:
    """There may be very many: they come by the thousand."""
    async for row in tx.cursor(_UNWANTED, prefetch=A_FETCH):
        yield _stray(row)


async def outliving(connection: Connection, *, by: timedelta) -> list[Stray]:
    """Told again `by` so long after their incident was closed, or later; or that began anew since, which is told."""
    return [_stray(row) for row in await connection.fetch(_OUTLIVING, by)]


async def these(connection: Connection, episodes: Sequence[EpisodeId]) -> list[Stray]:
    """Those of them that are strays still."""
    return [_stray(row) for row in await connection.fetch(_THESE, list(episodes))]


_ADOPT = """
WITH held AS (
    SELECT id, incident_id FROM episodes WHERE id = ANY($1::bigint[]) AND closed_at IS NULL ORDER BY id FOR UPDATE
)
UPDATE episodes e SET incident_id = k.incident
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) k(id, incident, closed) JOIN held USING (id)
WHERE e.id = k.id AND held.incident_id IS NOT DISTINCT FROM k.closed
RETURNING e.id
"""


async def adopt(tx: Connection, adopted: Mapping[IncidentId, Sequence[Stray]]) -> None:
    """They are those incidents' from now on. The incidents are held already. Raises `Outdated`, for the transaction to
    be given up, where one has ended meanwhile, or another replica was sooner."""
    given = [(stray, incident) for incident, strays in adopted.items() for stray in strays]
    rows = await tx.fetch(
        _ADOPT,
        [stray.episode for stray, _ in given],
        [incident for _, incident in given],
        [stray.closed for stray, _ in given],
    )
    if len(rows) < len(given):
        raise Outdated("an alert that nobody worked on ended, or somebody does")


def _stray(row: Any) -> Stray:
    alert = Alert(
        source=SourceName(row["source"]),
        fingerprint=Fingerprint(row["fingerprint"]),
        status=AlertStatus.FIRING,
        labels=row["labels"],
        starts_at=row["starts_at"],
        annotations=row["annotations"] or {},
    )
    return Stray(EpisodeId(row["id"]), alert, row["incident_id"], row["began_anew"])
