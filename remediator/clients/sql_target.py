"""Other people's PostgreSQL, looked at and never changed: read-only transactions, short time-outs, a row cap."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg

from remediator.domain.errors import Permanent, Temporary

MOST_ROWS = 200
STATEMENT_SECONDS = 5.0
"""On the server; a second more on our side, for a server that is frozen and would hold us for ever."""
_SETTINGS = {
    "application_name": "remediator (read only)",
    "default_transaction_read_only": "on",
    "statement_timeout": f"{STATEMENT_SECONDS:.0f}s",
    "lock_timeout": "1s",
    "idle_in_transaction_session_timeout": "10s",
}


@dataclass(frozen=True, slots=True)
class Rows:
    count: int
    """How many there are; `MOST_ROWS` where there are more."""
    first_value: Any
    """Of the first row's first column; None where there is none."""
    truncated: bool


@dataclass(frozen=True, slots=True)
class SqlTarget:
    name: str
    pool: "asyncpg.Pool[Any]"

    async def query(self, sql: str, parameters: Sequence[object] = ()) -> Rows:
        """One statement with bind parameters `$1`, `$2`. Raises `Temporary` or `Permanent`, without the DSN in it.

        A prepared statement takes exactly one command, so a second one after a `;` is refused by the server.
        """
        try:
            async with (
                asyncio.timeout(STATEMENT_SECONDS + 5),
                self.pool.acquire(timeout=5) as connection,
                connection.transaction(readonly=True),
            ):
                prepared = await connection.prepare(sql)
                cursor = await prepared.cursor(*parameters)
                first = await cursor.fetchrow()
                # The others are counted where they are: two hundred of them may be more than our memory.
                others = await cursor.forward(MOST_ROWS) if first is not None else 0
        except (
            asyncpg.PostgresConnectionError,
            asyncpg.QueryCanceledError,
            asyncpg.LockNotAvailableError,
            OSError,
            asyncpg.InterfaceError,
            asyncpg.InsufficientResourcesError,
            TimeoutError,
        ) as error:
            raise Temporary(str(error) or "timed out", system=f"database {self.name}", operation="query") from error
        except asyncpg.PostgresError as error:
            raise Permanent(str(error), system=f"database {self.name}", operation="query") from error
        if first is None:
            return Rows(0, None, truncated=False)
        return Rows(min(1 + others, MOST_ROWS), first[0] if first else None, truncated=others == MOST_ROWS)


@asynccontextmanager
async def connect_sql_target(name: str, dsn: str) -> AsyncIterator[SqlTarget]:
    """Connects when first used: a target that is down must not keep the daemon from starting."""
    pool = asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=2,
        max_inactive_connection_lifetime=60,
        timeout=5,
        command_timeout=STATEMENT_SECONDS + 1,
        server_settings=_SETTINGS,
    )
    await pool
    try:
        yield SqlTarget(name, pool)
    finally:
        pool.terminate()
