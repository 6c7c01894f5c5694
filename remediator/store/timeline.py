"""Timeline entries: written many at once, stamped by the database's clock, read in the order they were written."""

from collections.abc import Sequence

from remediator.domain.ids import IncidentId
from remediator.domain.timeline import Entry, EntryKind
from remediator.store.database import Connection, clean, to_json

_APPEND = """
INSERT INTO timeline (incident_id, kind, path, message, data)
SELECT incident_id, kind, path, message, data::jsonb
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[]) e(incident_id, kind, path, message, data)
"""


async def append(tx: Connection, told: Sequence[tuple[int, Entry]]) -> None:
    """(incident, entry) in the order to be read."""
    if not told:
        return
    entries = [entry for _, entry in told]
    await tx.execute(
        _APPEND,
        [incident for incident, _ in told],
        [entry.kind for entry in entries],
        [clean(entry.path) for entry in entries],
        [clean(entry.message) for entry in entries],
        [to_json(entry.data) if entry.data else "{}" for entry in entries],
    )


async def of_incident(connection: Connection, incident: IncidentId) -> list[Entry]:
    rows = await connection.fetch(
        "SELECT at, kind, path, message, data FROM timeline WHERE incident_id = $1 ORDER BY id", incident
    )
    return [Entry(EntryKind(r["kind"]), r["message"], r["path"], r["data"], r["at"]) for r in rows]
