"""A database whose statements are watched, whatever code sends them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from remediator.store.database import Database, prepare_connection

METHODS = ("fetch", "fetchrow", "fetchval", "execute", "executemany")
_STATEMENTS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")

Watch = Callable[["asyncpg.Connection[Any]", str, str, Sequence[Any], Callable[[], Awaitable[Any]]], Awaitable[Any]]
"""(connection, method, sql, arguments, go on) -> the answer, usually of going on."""


@asynccontextmanager
async def watched_database(dsn: str, watch: Watch, **server_settings: str) -> AsyncIterator[Database]:
    """One connection: statements come one after another."""
    pool = await asyncpg.create_pool(
        dsn,
        min_size=1,
        max_size=1,
        init=prepare_connection,
        connection_class=_watched(watch),
        server_settings={"timezone": "UTC", **server_settings},
    )
    try:
        yield Database(pool)
    finally:
        pool.terminate()


def _watched(watch: Watch) -> type["asyncpg.Connection[Any]"]:
    return type("Watched", (asyncpg.Connection,), {name: _method(name, watch) for name in METHODS})


def _method(name: str, watch: Watch) -> Callable[..., Awaitable[Any]]:
    plain = getattr(asyncpg.Connection, name)

    async def method(self: "asyncpg.Connection[Any]", query: str, *args: Any, **options: Any) -> Any:
        if not query.lstrip().upper().startswith(_STATEMENTS) or "pg_advisory_unlock_all" in query:
            return await plain(self, query, *args, **options)
        return await watch(self, name, query, args, lambda: plain(self, query, *args, **options))

    return method
