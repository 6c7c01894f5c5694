"""Other people's Redis or Valkey: looks by allow-list, and one write, UNLINK of keys that a SCAN found.

The library is imported where a connection is made: most daemons have none.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from remediator.domain.errors import Ambiguous, NotAllowed, Permanent, SystemFailure, Temporary

if TYPE_CHECKING:
    import redis.asyncio as redis
    from redis.exceptions import RedisError

Answer = TypeVar("Answer")

SECONDS = 4.0
MOST_CONNECTIONS = 4
SCAN_COUNT = 500
LOOKS = frozenset(
    {
        "PING", "INFO", "DBSIZE", "TTL", "PTTL", "TYPE", "EXISTS", "STRLEN", "LLEN", "HLEN", "SCARD", "ZCARD",
        "XLEN", "GET", "LASTSAVE", "ROLE", "TIME", "MEMORY USAGE", "MEMORY STATS", "MEMORY DOCTOR",
        "SLOWLOG GET", "SLOWLOG LEN", "LATENCY LATEST", "LATENCY DOCTOR", "CLIENT LIST", "CONFIG GET",
        "CLUSTER INFO", "OBJECT ENCODING", "OBJECT IDLETIME",
    }
)  # fmt: skip
"""None of them changes anything or takes longer than its own answer."""


@dataclass(frozen=True, slots=True)
class RedisReader:
    name: str
    client: "redis.Redis"

    async def run(self, command: Sequence[str]) -> Any:
        """`["INFO", "memory"]`. Raises `NotAllowed` for anything not on the list."""
        check_looks(command)
        asked = self.client.execute_command(*command)  # type: ignore[no-untyped-call]  # untyped in redis-py
        return await _answer(asked, self.name, command[0])

    async def info(self, section: str = "memory") -> dict[str, Any]:
        found: dict[str, Any] = await _answer(self.client.info(section), self.name, "INFO")
        return found

    async def keys(self, pattern: str, *, at_most: int) -> list[bytes]:
        """By SCAN, in small steps; never KEYS."""
        found: set[Any] = set()
        cursor = None
        while cursor != 0 and len(found) < at_most:
            step = self.client.scan(cursor or 0, match=pattern, count=SCAN_COUNT)
            cursor, keys = await _answer(step, self.name, "SCAN")
            found.update(keys)
        return sorted(found)[:at_most]


@dataclass(frozen=True, slots=True)
class RedisWriter:
    name: str
    client: "redis.Redis"

    async def unlink(self, keys: Sequence[bytes]) -> int:
        """Frees in the background of the server. Raises `Ambiguous` where the answer never came."""
        if not keys:
            return 0
        try:
            removed: int = await _answer(self.client.unlink(*keys), self.name, "UNLINK")
        except Temporary as error:
            raise Ambiguous(str(error), system=f"redis {self.name}", operation="UNLINK") from error
        return removed


def check_looks(command: Sequence[str]) -> None:
    words = [word.upper() for word in command]
    if not words or not ({words[0], " ".join(words[:2])} & LOOKS):
        raise NotAllowed(
            f"{' '.join(command[:2]) or 'an empty command'} is not on the list of read-only commands: "
            f"{', '.join(sorted(LOOKS))}"
        )


async def _answer(asked: Awaitable[Answer], name: str, operation: str) -> Answer:
    """One limit for all of it: the wait for a connection, the command and its answer."""
    from redis.exceptions import RedisError

    try:
        async with asyncio.timeout(SECONDS):
            return await asked
    except RedisError as error:
        raise failure(error, name, operation) from error
    except TimeoutError as error:
        raise Temporary(f"no answer within {SECONDS:g} s", system=f"redis {name}", operation=operation) from error


def failure(error: "RedisError", name: str, operation: str) -> SystemFailure:
    from redis import exceptions

    permanent = isinstance(error, (exceptions.ResponseError, exceptions.AuthenticationError))
    kind = Permanent if permanent else Temporary
    return kind(str(error) or type(error).__name__, system=f"redis {name}", operation=operation)


@asynccontextmanager
async def connect_redis(name: str, url: str) -> AsyncIterator[tuple[RedisReader, RedisWriter]]:
    """Connects when first used. Whoever must not write is simply not given the writer."""
    import redis.asyncio as redis

    # Blocking: incidents of one storm wait for a connection, where the plain pool would refuse all but the first four.
    pool = redis.BlockingConnectionPool.from_url(
        url,
        timeout=None,
        socket_timeout=None,  # a task for every command that is sent; each operation has its limit
        socket_connect_timeout=SECONDS,
        max_connections=MOST_CONNECTIONS,
        client_name="remediator",
    )
    client = redis.Redis.from_pool(pool)
    try:
        yield RedisReader(name, client), RedisWriter(name, client)
    finally:
        await client.aclose()
