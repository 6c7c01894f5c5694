"""Timeline entries: written many at once, stamped by the database's clock, read in the order they were written."""

from collections.abc import Sequence

from remediator.domain.ids import IncidentId
from remediator.domain.timeline import Entry, EntryKind
from remediator.store.database import Connection

APPEND = """
INSERT INTO timeline (incident_id, kind, path, message, data)
SELECT * FROM jsonb_to_recordset({rows}) e(incident_id bigint, kind text, path text, message text, data jsonb)
"""
"""`rows`: the parameter that brings them."""
_APPEND = APPEND.format(rows="$1")


async def append(tx: Connection, told: Sequence[tuple[int, Entry]]) -> None:
    """(incident, entry) in the order to be read."""
    if told:
        await tx.execute(_APPEND, rows(told))


def rows(told: Sequence[tuple[int, Entry]]) -> list[dict[str, object]]:
    """For `APPEND`."""
    return [
        {
            "incident_id": incident,
            "kind": entry.kind,
            "path": entry.path,
            "message": entry.message,
            "data": entry.data,
        }
        for incident, entry in told
    ]


async def of_incident(connection: Connection, incident: IncidentId) -> list[Entry]:
    rows = await connection.fetch(
        "SELECT at, kind, path, message, data FROM timeline WHERE incident_id = $1 ORDER BY id", incident
    )
    return [Entry(EntryKind(r["kind"]), r["message"], r["path"], r["data"], r["at"]) for r in rows]
