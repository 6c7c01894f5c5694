"""What can be seen of one seed from outside: the database's rows, the cluster's writes, the pages, the answers."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import msgspec

from remediator.store.bodies import unpacked
from tests.fakes.alertmanager_peers import Delivery, Told
from tests.fakes.kubernetes import Recorded
from tests.faults.inbox import Arrival, Inbox
from tests.faults.polling import Poll
from tests.faults.scenario import Response

Row = Mapping[str, Any]

SOON = timedelta(seconds=3)
"""Who wakes within this is waited for; who sleeps longer waits for a person, a budget, or the alert's end."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What a person was told is done."""

    incident: int
    does: Response


@dataclass(frozen=True, slots=True)
class Probe:
    """What a replica said while nothing came through to its database."""

    of: str
    status: int
    """0: nothing, for longer than anybody waits."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Standstill:
    """While the kill switch was on for certain: from the answer that it is, until the first word that it shall not."""

    begins_at: datetime
    ends_at: datetime


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
    bodies: Set[int]
    """The numbers of the deliveries whose bodies are kept."""

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
        ]


async def read_books(connection: "asyncpg.Connection[Any]") -> Books:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return Books(
            now=await connection.fetchval("SELECT clock_timestamp()"),
            episodes=await connection.fetch("SELECT * FROM episodes ORDER BY id"),
            incidents=await connection.fetch("SELECT * FROM incidents ORDER BY id"),
            intents=await connection.fetch("SELECT * FROM intents ORDER BY begun_at"),
            reservations=await connection.fetch("SELECT * FROM reservations ORDER BY id"),
            escalations=await connection.fetch("SELECT * FROM escalations ORDER BY incident_id"),
            outbox=await connection.fetch("SELECT * FROM outbox ORDER BY id"),
            timeline=await connection.fetch("SELECT * FROM timeline ORDER BY id"),
            bodies={_number_of(row["body"]) for row in await connection.fetch("SELECT body FROM deliveries")},
        )


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


@dataclass(frozen=True, slots=True)
class Evidence:
    """All but `inbox` and `firings` is what had happened when the books were read."""

    books: Books
    writes: Sequence[Recorded]
    arrivals: Sequence[Arrival]
    deliveries: Sequence[Delivery]
    answered: Sequence[Answered]
    polls: Sequence[Poll]
    probes: Sequence[Probe]
    standstills: Sequence[Standstill]
    taken: Mapping[str, int]
    """How often the lease of a page was taken from whoever had it, by its dedup key: that one may have sent it."""
    inbox: Inbox
    """As it is now: what is recorded as sent must have arrived."""
    firings: Sequence[Told]
    """All that there were until now, by their start: what is believed must have happened."""
    thawed: Sequence[Row]
    """Incidents that others had closed when a frozen replica was let go on, as they were at that moment."""
