"""Our own PostgreSQL: one pool, short transactions, and one translation of its failures into ours."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
import msgspec

from remediator.domain.errors import Temporary

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[Any] | asyncpg.Connection[Any]"

STATEMENT_TIMEOUT = "10s"
LOCK_TIMEOUT = "5s"
IDLE_IN_TRANSACTION = "30s"
ACQUIRE_SECONDS = 5.0
CONNECT_SECONDS = 5.0

_FAILURES = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.PostgresSystemError,
    OSError,
    TimeoutError,
)


@dataclass(frozen=True, slots=True)
class Database:
    """Every failure to reach it is a `Temporary`; a bug in our SQL stays what it is."""

    pool: "asyncpg.Pool[Any]"

    @classmethod
    @asynccontextmanager
    async def open(cls, dsn: str, *, pool: int = 10) -> AsyncIterator["Database"]:
        with translated("connect"):
            opened = await asyncpg.create_pool(
                dsn,
                min_size=1,
                max_size=pool,
                timeout=CONNECT_SECONDS,
                command_timeout=30,
                init=_prepare,
                server_settings={
                    "application_name": "remediator",
                    "statement_timeout": STATEMENT_TIMEOUT,
                    "lock_timeout": LOCK_TIMEOUT,
                    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION,
                    "timezone": "UTC",
                },
            )
        try:
            yield cls(opened)
        finally:
            opened.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        with translated("query"):
            async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        with translated("transaction"):
            async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as connection, connection.transaction():
                yield connection

    async def ping(self) -> None:
        async with self.connection() as connection:
            await connection.fetchval("SELECT 1")


class translated:  # noqa: N801  # reads as a word at its uses
    """Our own errors and bugs pass; what says "the database is not well" becomes `Temporary`."""

    def __init__(self, operation: str) -> None:
        self._operation = operation

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, _FAILURES):
            message = str(error) or type(error).__name__
            raise Temporary(message, system="database", operation=self._operation) from error


def to_json(value: object) -> str:
    """What jsonb can hold: no NUL, no lone surrogate; datetimes as ISO 8601."""
    try:
        text = msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        text = msgspec.json.encode(_cleaned(msgspec.to_builtins(value))).decode()
    return text.replace("\\u0000", "\\ufffd")


def _cleaned(value: Any) -> Any:
    match value:
        case str():
            return clean(value)
        case Mapping():
            return {clean(str(key)): _cleaned(item) for key, item in value.items()}
        case list() | tuple():
            return [_cleaned(item) for item in value]
        case _:
            return value


def clean(text: str) -> str:
    """Text that PostgreSQL takes."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


async def _prepare(connection: "asyncpg.Connection[Any]") -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=to_json, decoder=msgspec.json.decode, format="text"
    )
