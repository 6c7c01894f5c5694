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


_APPEND_ALIKE = """
INSERT INTO timeline (incident_id, kind, path, message, data)
SELECT incident, e.kind, e.path, e.message, e.data
FROM jsonb_to_recordset($1) e(incidents bigint[], kind text, path text, message text, data jsonb),
    unnest(e.incidents) incident
"""


async def append_alike(tx: Connection, told: Sequence[tuple[Sequence[IncidentId], Entry]]) -> None:
    """The same entry for each of many incidents: a tenth of the bytes."""
    if told:
        await tx.execute(_APPEND_ALIKE, [{"incidents": incidents, **fields(entry)} for incidents, entry in told])


def rows(told: Sequence[tuple[int, Entry]]) -> list[dict[str, object]]:
    """For `APPEND`."""
    return [{"incident_id": incident, **fields(entry)} for incident, entry in told]


FIELDS = "kind text, path text, message text, data jsonb"


def fields(entry: Entry) -> dict[str, object]:
    """As `FIELDS` reads them."""
    return {"kind": entry.kind, "path": entry.path, "message": entry.message, "data": entry.data}


_OF_INCIDENT = """
SELECT at, kind, path, message, data FROM (
    SELECT * FROM timeline WHERE incident_id = $1 ORDER BY id DESC LIMIT $2
) latest ORDER BY id
"""


async def of_incident(connection: Connection, incident: IncidentId, *, latest: int | None = None) -> list[Entry]:
    """All of it, or its `latest` entries."""
    rows = await connection.fetch(_OF_INCIDENT, incident, latest)
    return [Entry(EntryKind(r["kind"]), r["message"], r["path"], r["data"], r["at"]) for r in rows]
