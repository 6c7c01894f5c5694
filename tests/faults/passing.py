"""Time that passes for what lies in the database of one seed: leases, pauses, hours, and nobody waits for them."""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from tests.cluster.eventually import eventually
from tests.faults.books import DATABASE_ERRORS, Line
from tests.faults.fleet import Fleet
from tests.faults.scenario import REST_WITHIN

_NEEDED_FOR_A_PAGE = 1.5
"""Seconds: by nobody alive more."""


@dataclass
class Passing:
    dsn: str
    fleet: Fleet
    leases_last: bool
    """They run out in their own time."""
    taken: Counter[str] = field(default_factory=Counter)
    """How often the lease of a page was taken from whoever had it, by its dedup key."""
    _leased: dict[tuple[int, int], float] = field(default_factory=dict)

    async def pass_on(self) -> None:
        """What leases, time-outs and pauses would bring in half a minute; the living keep what they hold. Until
        cancelled."""
        line = Line(self.dsn)
        try:
            while True:
                await asyncio.sleep(0.3)
                with suppress(*DATABASE_ERRORS):
                    await self.expire(await line.connection())
        finally:
            await line.close()

    async def expire(self, connection: "asyncpg.Connection[Any]") -> None:
        """Once; what the connection is lost over is for the next time."""
        await self._expire_pages(connection)
        if self.leases_last:
            return
        await connection.execute(_LEASES_OF_THE_DEAD, self.fleet.living())
        await connection.execute("UPDATE outbox SET due_at = now() WHERE state = 'queued' AND due_at > now()")
        if self.fleet.unrest():
            await connection.execute(_IDLE_TRANSACTIONS)

    async def let_hours_pass(self, *, at: float) -> None:
        """Once, whatever befalls the database meanwhile."""
        await asyncio.sleep(at)
        line = Line(self.dsn)

        async def have_passed() -> bool:
            try:
                await (await line.connection()).execute(_EVERY_WAIT_IS_OVER)
            except DATABASE_ERRORS:
                return False
            return True

        try:
            await eventually(have_passed, within=REST_WITHIN)
        finally:
            await line.close()

    async def _expire_pages(self, connection: "asyncpg.Connection[Any]") -> None:
        """Their leases name no owner, and last longer than anybody is frozen here."""
        now = time.monotonic()
        for row in await connection.fetch("SELECT id, epoch, dedup_key FROM outbox WHERE lease_until > now()"):
            since = self._leased.setdefault((row["id"], row["epoch"]), now)
            if now - since > _NEEDED_FOR_A_PAGE and await self._is_taken(connection, row["id"], row["epoch"]):
                self.taken[row["dedup_key"]] += 1

    async def _is_taken(self, connection: "asyncpg.Connection[Any]", page: int, epoch: int) -> bool:
        """Also where nobody can tell, for our own connection was lost over it."""
        try:
            return await connection.execute(_LEASE_OF_A_PAGE, page, epoch) == "UPDATE 1"
        except asyncpg.PostgresConnectionError:
            return True
        except asyncpg.PostgresError:
            raise
        except DATABASE_ERRORS:
            return True


_LEASE_OF_A_PAGE = "UPDATE outbox SET lease_until = now() WHERE id = $1 AND epoch = $2 AND lease_until > now()"
_LEASES_OF_THE_DEAD = """
UPDATE incidents SET lease_until = now() - interval '1 second' WHERE id IN (
    SELECT id FROM incidents
    WHERE lease_until > now() AND NOT (split_part(lease_owner, ':', 2)::int = ANY($1::int[]))
    FOR NO KEY UPDATE SKIP LOCKED
)
"""
_EVERY_WAIT_IS_OVER = """
UPDATE escalations SET due_at = now(), started_at = started_at - interval '40 minutes' WHERE due_at IS NOT NULL
"""
_IDLE_TRANSACTIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'
  AND state_change < now() - interval '0.7 seconds'
"""
