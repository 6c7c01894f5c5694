"""Alerts that are over and whose episode is open all the same: two replicas filed start and end at once, and neither
saw the other."""

from typing import Any

from remediator.domain.alert import Alert, AlertStatus
from remediator.domain.episode import STALE_FOR
from remediator.domain.ids import Fingerprint, SourceName
from remediator.store.database import Connection

# Only what is open is read, and of each the ends since shortly before it was told last. With such an end, what was told
# then was late news, which opens nothing (`domain/episode.py`); what is told long after its end fires indeed.
_FIND = """
SELECT e.source, e.fingerprint, e.labels, e.starts_at, over.ends_at, over.recovered
FROM episodes e CROSS JOIN LATERAL (
    SELECT ends_at, recovered FROM episodes
    WHERE source = e.source AND fingerprint = e.fingerprint AND ends_at >= e.starts_at
        AND closed_at > e.last_seen_at - $1::interval
    ORDER BY closed_at DESC LIMIT 1
) over
WHERE e.closed_at IS NULL
"""


async def find(connection: Connection) -> list[Alert]:
    """Their ends, as they were told."""
    return [_end(row) for row in await connection.fetch(_FIND, STALE_FOR)]


def _end(row: Any) -> Alert:
    return Alert(
        source=SourceName(row["source"]),
        fingerprint=Fingerprint(row["fingerprint"]),
        status=AlertStatus.RESOLVED,
        labels=row["labels"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        recovered=row["recovered"],
    )
