"""Other people's Redis or Valkey: short looks by allow-list, and one write, UNLINK of keys that a SCAN found.

The library is imported where a connection is made: most daemons have none.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from operator import methodcaller
from typing import TYPE_CHECKING, Any, TypeVar

from remediator.clients.redis_looks import as_sent
from remediator.domain.errors import Ambiguous, Permanent, SystemFailure, Temporary
from remediator.domain.plan import Fence, unfenced

if TYPE_CHECKING:
    import redis.asyncio as redis
    from redis.exceptions import RedisError

Answer = TypeVar("Answer")

SECONDS = 4.0
MOST_CONNECTIONS = 4
SCAN_COUNT = 500


class Lines:
    """A few connections, each with one command at a time: incidents of one storm wait for a free one.

    The library's own pool costs more than the commands.
    """

    def __init__(self, name: str, clients: Iterable["redis.Redis"]) -> None:
        self.name = name
        self._idle: asyncio.LifoQueue[redis.Redis] = asyncio.LifoQueue()
        for client in clients:
            self._idle.put_nowait(client)

    async def ask(self, operation: str, command: Callable[["redis.Redis"], Awaitable[Answer]]) -> Answer:
        """One limit for all of it: the wait for a connection, the command and its answer."""
        from redis.exceptions import RedisError

        try:
            async with asyncio.timeout(SECONDS):
                client = await self._idle.get()
                try:
                    await _connected(client)
                    return await command(client)
                finally:
                    self._idle.put_nowait(client)
        except RedisError as error:
            raise failure(error, self.name, operation) from error
        except TimeoutError as error:
            late = f"no answer within {SECONDS:g} s"
            raise Temporary(late, system=f"redis {self.name}", operation=operation) from error


async def _connected(client: "redis.Redis") -> None:
    """Before the command: a writer's fence must not be asked first, and a connection made then."""
    if client.connection is None:
        await client.initialize()
    else:  # used before; the server may have closed it since
        await client.connection_pool.ensure_connection(client.connection)


@dataclass(frozen=True, slots=True)
class RedisReader:
    lines: Lines

    async def run(self, command: Sequence[str]) -> Any:
        """`["INFO", "memory"]`. Raises `NotAllowed` for anything not on the list; of a value, gives the first bytes."""
        words = as_sent(command)
        return await self.lines.ask(command[0].upper(), methodcaller("execute_command", *words))

    async def info(self, section: str = "memory") -> dict[str, Any]:
        found: dict[str, Any] = await self.lines.ask("INFO", lambda client: client.info(section))
        return found

    async def keys(self, pattern: str, *, at_most: int) -> list[bytes]:
        """By SCAN, in small steps; never KEYS."""
        found: set[Any] = set()
        cursor = None
        while cursor != 0 and len(found) < at_most:
            step = methodcaller("scan", cursor or 0, match=pattern, count=SCAN_COUNT)
            cursor, keys = await self.lines.ask("SCAN", step)
            found.update(keys)
        return sorted(found)[:at_most]


@dataclass(frozen=True, slots=True)
class RedisWriter:
    lines: Lines
    fence: Fence = unfenced

    async def unlink(self, keys: Sequence[bytes]) -> int:
        """Frees in the background of the server. Raises `Ambiguous` where the answer never came, and what `fence`
        raises once there is a connection to write on."""
        if not keys:
            return 0

        def send(client: "redis.Redis") -> Awaitable[int]:
            self.fence()
            return client.unlink(*keys)

        try:
            removed = await self.lines.ask("UNLINK", send)
        except Temporary as error:
            raise Ambiguous(error.message, system=f"redis {self.lines.name}", operation="UNLINK") from error
        return removed


def failure(error: "RedisError", name: str, operation: str) -> SystemFailure:
    from redis import exceptions

    permanent = isinstance(error, (exceptions.ResponseError, exceptions.AuthenticationError))
    kind = Permanent if permanent else Temporary
    return kind(str(error) or type(error).__name__, system=f"redis {name}", operation=operation)


@asynccontextmanager
async def connect_redis(name: str, url: str) -> AsyncIterator[tuple[RedisReader, RedisWriter]]:
    """Connects when first used. Whoever must not write is simply not given the writer."""
    import redis.asyncio as redis
    from redis.maint_notifications import MaintNotificationsConfig

    connect = partial(
        redis.Redis.from_url,
        url,
        single_connection_client=True,
        socket_connect_timeout=SECONDS,
        client_name="remediator",
        # With these on, the library goes on using a connection that the server has closed.
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    clients = [_guarded(connect()) for _ in range(MOST_CONNECTIONS)]
    lines = Lines(name, clients)
    try:
        yield RedisReader(lines), RedisWriter(lines)
    finally:
        for client in clients:
            await client.aclose()


def _guarded(client: "redis.Redis") -> "redis.Redis":
    """The query of the URL can ask for repetitions, and for a PING that goes ahead of the command; it wins over what is
    given to `from_url`. It also says which protocol is spoken, and so how answers are read."""
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    from remediator.clients.redis_answers import ShortAnswersOfVersion2, ShortAnswersOfVersion3

    how = client.connection_pool.connection_kwargs
    reader = ShortAnswersOfVersion2 if str(how.get("protocol")) == "2" else ShortAnswersOfVersion3
    once = {"retry": Retry(NoBackoff(), 0), "retry_on_timeout": False, "retry_on_error": [], "health_check_interval": 0}
    how.update(**once, parser_class=reader)
    return client
