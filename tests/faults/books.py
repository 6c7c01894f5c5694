"""Our own state of one seed, as it stands in its database, and the connection that it is read by."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from remediator.store.bodies import unpacked
from tests.faults.rules import UNWANTED

Row = Mapping[str, Any]

SOON = timedelta(seconds=3)
"""Who wakes within this is waited for; who sleeps longer waits for a person, a budget, or the alert's end."""
DATABASE_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)


@dataclass(frozen=True, slots=True)
class Books:
    """Our own state, read in one snapshot."""

    now: datetime
    episodes: Sequence[Row]
    incidents: Sequence[Row]
    intents: Sequence[Row]
    reservations: Sequence[Row]
    escalations: Sequence[Row]
    outbox: Sequence[Row]
    timeline: Sequence[Row]
    summaries: Mapping[str, str]
    """Of each version of a rule that was ever in force."""
    bodies: Set[int]
    """The numbers of the peers' deliveries whose bodies are kept."""
    unwanted: Sequence[str]
    """The fingerprints of the episodes that no rule matches; they are not among the others."""
    quarantine: Sequence[Row]
    partly_read: Sequence[bytes]
    """The bodies of which something could not be read, as they are kept."""

    def alerts_of(self, incident: int) -> list[Row]:
        """The episodes of its alerts, and of those that went on in another incident after it was closed."""
        left = {
            episode
            for row in self.timeline
            if row["incident_id"] == incident and row["message"].startswith("goes on in incident ")
            for episode in row["data"]["episodes"]
        }
        return [row for row in self.episodes if row["incident_id"] == incident or row["id"] in left]

    def unrest(self) -> list[str]:
        """What is still under way; empty when nothing more will happen by itself."""
        return [
            *(
                f"incident {row['id']} ({row['phase']}) is due"
                for row in self.incidents
                if row["wake_at"] is not None and row["wake_at"] <= self.now + SOON
            ),
            *(
                f"incident {row['id']} ({row['phase']}) is held by {row['lease_owner']}"
                for row in self.incidents
                if row["lease_until"] is not None and row["lease_until"] > self.now
            ),
            *(
                f"incident {row['incident_id']} is due to be paged"
                for row in self.escalations
                if row["due_at"] is not None and row["due_at"] <= self.now
            ),
            *(f"message {row['dedup_key']} is queued" for row in self.outbox if row["state"] == "queued"),
            *(
                f"the end of {start['fingerprint']} crossed its start, and nobody has looked yet"
                for start in self.episodes
                for end in self.episodes
                if start["fingerprint"] == end["fingerprint"] and _is_crossed(start, end)
            ),
        ]


def _is_crossed(start: Row, end: Row) -> bool:
    return start["closed_at"] is None and end["closed_at"] is not None and end["ends_at"] >= start["starts_at"]


async def read_books(connection: "asyncpg.Connection[Any]") -> Books:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return Books(
            now=await connection.fetchval("SELECT clock_timestamp()"),
            episodes=await connection.fetch(_EPISODES, UNWANTED),
            incidents=await connection.fetch("SELECT * FROM incidents ORDER BY id"),
            intents=await connection.fetch("SELECT * FROM intents ORDER BY begun_at"),
            reservations=await connection.fetch("SELECT * FROM reservations ORDER BY id"),
            escalations=await connection.fetch("SELECT * FROM escalations ORDER BY incident_id"),
            outbox=await connection.fetch("SELECT * FROM outbox ORDER BY id"),
            timeline=await connection.fetch("SELECT * FROM timeline ORDER BY id"),
            summaries={row["version"]: row["summary"] for row in await connection.fetch(_SUMMARIES)},
            bodies={_number_of(row["body"]) for row in await connection.fetch(_BODIES)},
            unwanted=[row["fingerprint"] for row in await connection.fetch(_UNWANTED, UNWANTED)],
            quarantine=await connection.fetch("SELECT position, reason, raw FROM quarantine ORDER BY id"),
            partly_read=[unpacked(row["body"]) for row in await connection.fetch(_PARTLY_READ)],
        )


_EPISODES = "SELECT * FROM episodes WHERE labels ->> 'alertname' <> $1 ORDER BY id"
_UNWANTED = "SELECT fingerprint FROM episodes WHERE labels ->> 'alertname' = $1"
_SUMMARIES = "SELECT version, document ->> 'summary' AS summary FROM rule_versions"
_BODIES = "SELECT body FROM deliveries WHERE source = 'alertmanager'"
_PARTLY_READ = "SELECT body FROM deliveries WHERE rejected > 0 AND body <> ''"


def _number_of(body: bytes) -> int:
    group: str = msgspec.json.decode(unpacked(body))["groupKey"]
    return int(group.rpartition(":")[2])


class Line:
    """A connection of our own, made anew where the database has dropped it. For one task at a time."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._known: asyncpg.Connection[Any] | None = None

    async def connection(self) -> "asyncpg.Connection[Any]":
        if self._known is None or self._known.is_closed():
            self._known = await asyncpg.connect(self._dsn, timeout=10, command_timeout=10)
            await self._known.set_type_codec(
                "jsonb", schema="pg_catalog", encoder=str, decoder=msgspec.json.decode, format="text"
            )
            await self._known.execute("SET lock_timeout = '100ms'")
        return self._known

    async def close(self) -> None:
        if self._known is not None:
            self._known.terminate()


async def read(line: Line) -> Books | None:
    """None where the database cannot be read now."""
    try:
        return await read_books(await line.connection())
    except DATABASE_ERRORS:
        return None
