"""Looks at the database once a second, on a connection of its own, and decides whether it is well.

Where somebody met a failure that the look does not show (a full disk, a pool with no connection free, a table that
somebody holds), it proves by a write through the pool that the failure is over. It writes for no other reason.
"""

import asyncio
import random
from contextlib import suppress
from datetime import timedelta
from typing import Any

import asyncpg
import structlog

from remediator.domain.errors import Temporary
from remediator.store.connecting import LIMITS, connect, in_words
from remediator.store.database import Database, translated

log = structlog.get_logger()

LOOK_EVERY = timedelta(seconds=1)
SHORTEST_PAUSE = timedelta(milliseconds=200)
"""Between two looks, however many doubts are cast."""
ANSWER_SECONDS = 1.0
CONNECT_SECONDS = 1.5
PROVE_SECONDS = 2.0

_PROOF = """
BEGIN;
CREATE TEMP TABLE remediator_write_proof (bytes text) ON COMMIT DROP;
INSERT INTO remediator_write_proof SELECT repeat('x', 1900) FROM generate_series(1, 32);
ROLLBACK
"""
"""New files and new pages, which a full disk refuses; nothing is left of them."""
_CAN_PAGE = """
BEGIN;
SET LOCAL lock_timeout = '1s';
INSERT INTO outbox (incident_id, dedup_key, kind, recipient, reach, notification)
    SELECT 0, '', '', '', '[]', '{}' WHERE false ON CONFLICT (dedup_key) DO NOTHING;
UPDATE outbox SET lease_until = NULL WHERE false;
UPDATE escalations SET due_at = NULL WHERE false;
ROLLBACK
"""
"""Their locks, grants and unique index are there to be had: without them alerts are stored, and nobody is paged."""
# An abort waits for no standby, so that a proof by one would pass.
_HANGS = """
SELECT EXISTS (SELECT FROM pg_stat_activity WHERE usename = current_user AND datname = current_database()
    AND wait_event = 'SyncRep' AND state_change < clock_timestamp() - interval '2 s')
"""


class Watch:
    def __init__(self, dsn: str, database: Database, *, statements_kept: int) -> None:
        self._dsn = dsn
        self._database = database
        self._health = database.health
        self._statements_kept = statements_kept
        self._connection: asyncpg.Connection[Any] | None = None

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self.look()
                jitter = random.uniform(0.8, 1.2)  # noqa: S311  # spreads load, guards nothing
                await self._health.wait_for_doubt(at_most=LOOK_EVERY * jitter)
                await asyncio.sleep(SHORTEST_PAUSE.total_seconds())
        finally:
            self.hang_up()

    async def look(self) -> None:
        try:
            await self._ask()
        except Exception as error:  # whatever the library trips over: without a watch no outage would begin, or end
            self._lost(_reason(error))
        else:
            await self._settle_doubt()

    async def _settle_doubt(self) -> None:
        try:
            if self._health.doubt or self._is_in_doubt:
                await self._prove()
        except Temporary as error:
            self._health.lost(_reason(error), answers=True)
            return
        except Exception as error:  # it answers, and forbids what we prove it by: the next real write decides
            log.warning("cannot prove that the database can be written to", error=in_words(error))
        self._health.found_well()

    @property
    def _is_in_doubt(self) -> bool:
        """It answers, but the last proof failed."""
        return not self._health.is_well and self._health.answers

    def _lost(self, reason: str) -> None:
        was_answering = self._health.answers
        self._health.lost(reason)
        if was_answering:
            self._database.drop_connections()

    async def _ask(self) -> None:
        """A second try on a new connection: one that was reset says nothing about the server."""
        if self._connection is not None:
            try:
                return await self._question(self._connection)
            except Temporary:
                self.hang_up()
        with translated("look"):
            self._connection = await connect(
                self._dsn,
                timeout=CONNECT_SECONDS,
                command_timeout=ANSWER_SECONDS,
                limits={**LIMITS, "application_name": "remediator (watch)"},
                statement_cache_size=self._statements_kept,
            )
        try:
            return await self._question(self._connection)
        except Temporary:
            self.hang_up()
            raise

    async def _question(self, connection: "asyncpg.Connection[Any]") -> None:
        with translated("look"):
            read_only = await connection.fetchval("SELECT current_setting('transaction_read_only')")
        if read_only == "on":
            raise Temporary("it is read-only: no alert can be stored", system="database", operation="look")

    async def _prove(self) -> None:
        with translated("prove that it can be written to"):
            await self._demand_commits()
            await self._execute(_CAN_PAGE)
            with suppress(asyncpg.InsufficientPrivilegeError):  # no temporary tables for us: the next write decides
                await self._execute(_PROOF)

    async def _demand_commits(self) -> None:
        if self._connection is not None and await self._connection.fetchval(_HANGS):
            raise Temporary("commits wait for a synchronous standby", system="database", operation="prove")

    async def _execute(self, proof: str) -> None:
        async with self._database.acquired(within=PROVE_SECONDS) as connection:
            try:
                await connection.execute(proof, timeout=PROVE_SECONDS)
            except BaseException:
                connection.terminate()
                raise

    def hang_up(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _reason(error: Exception) -> str:
    if isinstance(error, Temporary):
        return str(error).removeprefix(f"{error.system}: {error.operation}: ")
    return in_words(error)
