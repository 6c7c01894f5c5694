"""Our own PostgreSQL: one pool, short transactions, and one translation of its failures into ours.

Connections go to the next user as they are, without the usual reset (a round trip a transaction): whoever uses one
sets nothing on the session. `SET LOCAL` and `pg_advisory_xact_lock` are fine.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar
from weakref import WeakSet

import asyncpg
import msgspec

from remediator.domain.errors import BadDocument, Temporary
from remediator.store.connecting import CONNECT_SECONDS, STATEMENTS_KEPT, connect, in_words
from remediator.store.health import Health

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[Any] | asyncpg.Connection[Any]"

Written = TypeVar("Written")

TRIES = 3
"""To write what nothing but other transactions stand in the way of."""
ACQUIRE_SECONDS = 3.0
"""A pool that has no connection free for so long is as good as a database that is down."""
MOST_QUERIES = 5_000_000
"""Before the pool replaces a connection that comes back to it; the library's 50,000 would be over in seconds."""
SPARE_SECONDS = 60.0
"""A connection unused for so long goes back to the pool, which closes it later: what nobody uses may die unnoticed."""
POOLED_SECONDS = 60.0
"""The pool closes it after so long again. The library's 300 are more than a NAT gateway keeps a silent connection
(240-350): it drops it without a word, and the next statement waits for an answer that cannot come."""

_FAILURES = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionTimeoutError,
    asyncpg.InvalidCachedStatementError,
    asyncpg.InvalidSQLStatementNameError,
    asyncpg.DuplicatePreparedStatementError,
    asyncpg.PostgresSystemError,
    # What another has done to the database: a grant, a table, a column or a unique index is gone.
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.InvalidColumnReferenceError,
    asyncpg.InternalServerError,
    OSError,
    TimeoutError,
)
_OF_NO_CONCERN = (asyncpg.TransactionRollbackError, asyncpg.InvalidCachedStatementError)
"""No sign that the database is not well."""
_PASSING = (*_OF_NO_CONCERN, asyncpg.LockNotAvailableError)
"""Worth another try. A lock may be a sign all the same: somebody may hold a whole table."""

_NUL = "\\u0000"
"""As it is written in JSON."""
_ESCAPED = re.compile(r"\\(?:u0000|.)")
"""After an escaped backslash the same five characters are text: a regular expression in somebody's command line."""


@dataclass(slots=True)
class Database:
    """Every failure to reach it is a `Temporary`; a bug in our SQL stays what it is."""

    pool: "asyncpg.Pool[Any]"
    health: Health = field(default_factory=Health)
    _opened: "WeakSet[asyncpg.Connection[Any]]" = field(default_factory=WeakSet)
    _spare: "deque[tuple[asyncpg.pool.PoolConnectionProxy[Any], float]]" = field(default_factory=deque)
    """Taken from the pool and not in use, and since when; the last one used is used first."""
    _waiting: int = 0
    """For a connection of the pool."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls, dsn: str, *, pool: int = 10, statements_kept: int = STATEMENTS_KEPT
    ) -> AsyncIterator["Database"]:
        opened: WeakSet[asyncpg.Connection[Any]] = WeakSet()

        async def prepare(connection: "asyncpg.Connection[Any]") -> None:
            opened.add(connection)
            await prepare_connection(connection)

        with translated("connect"):
            connections = await asyncpg.create_pool(
                dsn,
                min_size=0,
                init_size=1,
                max_size=pool,
                max_queries=MOST_QUERIES,
                max_inactive_connection_lifetime=POOLED_SECONDS,
                connect=_for_pool,
                init=prepare,
                reset=_as_it_is,
                timeout=CONNECT_SECONDS,
                statement_cache_size=statements_kept,
            )
        try:
            yield cls(connections, Health(), opened)
        finally:
            connections.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        self.health.demand_answers("query")
        with translated("query", self._doubt):
            async with self.acquired() as connection:
                yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        self.health.demand_answers("transaction")
        with translated("transaction", self._doubt):
            async with self.acquired() as connection, connection.transaction(isolation="read_committed"):
                yield connection

    @asynccontextmanager
    async def acquired(self, *, within: float | None = None) -> AsyncIterator[Connection]:
        """However well the database is; `within` seconds, else `ACQUIRE_SECONDS`. Failures come as they are.

        One is kept from one use to the next, unless it failed or somebody waits: taking one from the pool and giving
        it back costs as much as a small statement."""
        connection = await self._take(within or ACQUIRE_SECONDS)
        try:
            yield connection
        except BaseException as error:
            was_dropped = not _is_open(connection)
            if isinstance(error, TimeoutError):
                await self._hang_up(connection)
            await self.pool.release(connection)
            if was_dropped and isinstance(error, AttributeError):  # asyncpg's word for it between a statement's steps
                raise asyncpg.ConnectionDoesNotExistError("the connection was closed under a statement") from error
            raise
        if self._waiting:
            await self.pool.release(connection)
        else:
            self._spare.append((connection, time.monotonic()))
            await self._retire_one()

    async def _hang_up(self, silent: "asyncpg.pool.PoolConnectionProxy[Any]") -> None:
        """A server that takes too long says so, before we give up: this connection leads nowhere. Nor may those that
        nobody uses: a gateway forgets all that it knows at once, and each of them would be waited for in its turn."""
        self._spare.append((silent, 0.0))
        while self._spare:
            connection, _ = self._spare.pop()
            if _is_open(connection):
                connection.terminate()
        await self.pool.expire_connections()

    async def _retire_one(self) -> None:
        if time.monotonic() - self._spare[0][1] > SPARE_SECONDS:
            connection, _ = self._spare.popleft()
            await self.pool.release(connection)

    async def _take(self, within: float) -> "asyncpg.pool.PoolConnectionProxy[Any]":
        while self._spare:
            spare, _ = self._spare.pop()
            if _is_open(spare):
                return spare
        self._waiting += 1
        try:
            async with asyncio.timeout(within):  # the library's own time-out would make a task of each
                return await self.pool.acquire()
        finally:
            self._waiting -= 1

    def drop_connections(self) -> None:
        """Whoever waits on one hears of it now, and the next one is made anew: it reaches the new primary."""
        for connection in tuple(self._opened):
            connection.terminate()

    def _doubt(self, error: BaseException) -> None:
        if not isinstance(error, _OF_NO_CONCERN):
            self.health.cast_doubt(in_words(error))


def passes(error: Temporary) -> bool:
    """Whether it was another transaction that stood in the way, and nothing of this one is written."""
    return isinstance(error.__cause__, _PASSING)


def was_locked_out(error: Temporary) -> bool:
    """Whether it waited for a lock for as long as anybody may."""
    return isinstance(error.__cause__, asyncpg.LockNotAvailableError)


async def despite_others(write: Callable[[], Awaitable[Written]]) -> Written:
    """Once more, and again, where nothing but other transactions stand in the way: a deadlock's victim is surely rolled
    back. Raises the last `Temporary`."""
    for _ in range(TRIES - 1):
        try:
            return await write()
        except Temporary as error:
            if not passes(error):
                raise
    return await write()


def _is_open(connection: Connection) -> bool:
    try:
        return not connection.is_closed()
    except asyncpg.InterfaceError:  # it was closed behind our back, and the pool has taken it from us
        return False


class translated:  # noqa: N801  # reads as a word at its uses
    """Our own errors and bugs pass; what says "the database is not well" becomes `Temporary`."""

    def __init__(self, operation: str, tell: Callable[[BaseException], None] | None = None) -> None:
        self._operation = operation
        self._tell = tell

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, asyncpg.exceptions.ClientConfigurationError):
            raise BadDocument(f"DATABASE_URL: {error}") from error
        if isinstance(error, _FAILURES):
            if self._tell is not None:
                self._tell(error)
            raise Temporary(in_words(error), system="database", operation=self._operation) from error


def to_json(value: object) -> str:
    """What jsonb can hold: no NUL, no lone surrogate; datetimes as ISO 8601."""
    try:
        text = msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        text = msgspec.json.encode(_cleaned(msgspec.to_builtins(value))).decode()
    return _without_nul(text)


def _without_nul(text: str) -> str:
    """Of JSON."""
    return _ESCAPED.sub(lambda found: "\\ufffd" if found[0] == _NUL else found[0], text) if _NUL in text else text


def is_storable(value: object) -> bool:
    """Whether `to_json` changes nothing."""
    try:
        text = msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        return False
    return _without_nul(text) == text


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


async def _for_pool(dsn: str | None = None, **how: Any) -> "asyncpg.Connection[Any]":
    return await connect(dsn or "", **how)


async def prepare_connection(connection: "asyncpg.Connection[Any]") -> None:
    """Each new one, before its first statement: jsonb comes and goes as what it says."""
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=to_json, decoder=msgspec.json.decode, format="text"
    )


async def _as_it_is(_connection: "asyncpg.Connection[Any]") -> None:
    """In place of the library's reset query: we leave nothing behind to be reset."""
