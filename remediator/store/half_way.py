"""What a migration leaves behind when it is given up half-way, and must not: constraints that refuse rows.

One that is `NOT VALID` binds new rows all the same. A bound on a moment lets them in for weeks, and then stops the
release that somebody went back to.
"""

from collections.abc import Mapping

from remediator.store.database import Connection

LEFT_BEHIND: Mapping[str, Mapping[str, str]] = {
    "0003_retention.sql": {
        "deliveries_first_until": "deliveries",
        "quarantine_first_until": "quarantine",
        "timeline_first_until": "timeline",
    },
}
"""Migration -> the constraints that its steps before the last one add -> their tables."""


async def left_behind(connection: Connection, migration: str) -> list[str]:
    """The statements that take it back. None where there is nothing: each takes a lock for a moment."""
    rows = await connection.fetch(
        """SELECT conname AS name FROM pg_constraint
           WHERE conname = ANY($1::text[]) AND contype = 'c' AND pg_table_is_visible(conrelid)""",
        list(LEFT_BEHIND[migration]),
    )
    there = {row["name"] for row in rows}
    return [statement for name, statement in statements(migration).items() if name in there]


def statements(migration: str) -> Mapping[str, str]:
    """Of all that there may be."""
    return {
        name: f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name}"
        for name, table in LEFT_BEHIND.get(migration, {}).items()
    }
