"""Other people's Redis or Valkey: looks by allow-list, and one write, UNLINK of keys that a SCAN found.

The library is imported where a connection is made: most daemons have none.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from remediator.domain.errors import Ambiguous, NotAllowed, Permanent, SystemFailure, Temporary

if TYPE_CHECKING:
    import redis.asyncio as redis
    from redis.exceptions import RedisError

SECONDS = 2.0
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
        with _translated(self.name, command[0]):
            return await self.client.execute_command(*command)  # type: ignore[no-untyped-call]  # untyped in redis-py

    async def info(self, section: str = "memory") -> dict[str, Any]:
        with _translated(self.name, "INFO"):
            found: dict[str, Any] = await self.client.info(section)
        return found

    async def keys(self, pattern: str, *, at_most: int) -> list[bytes]:
        """By SCAN, in small steps; never KEYS."""
        found: set[bytes] = set()
        with _translated(self.name, "SCAN"):
            async for key in self.client.scan_iter(match=pattern, count=SCAN_COUNT):
                found.add(key)
                if len(found) >= at_most:
                    break
        return sorted(found)


@dataclass(frozen=True, slots=True)
class RedisWriter:
    name: str
    client: "redis.Redis"

    async def unlink(self, keys: Sequence[bytes]) -> int:
        """Frees in the background of the server. Raises `Ambiguous` where the answer never came."""
        if not keys:
            return 0
        from redis import exceptions

        with _translated(self.name, "UNLINK"):
            try:
                removed: int = await self.client.unlink(*keys)
            except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
                raise Ambiguous(str(error), system=f"redis {self.name}", operation="UNLINK") from error
        return removed


def check_looks(command: Sequence[str]) -> None:
    words = [word.upper() for word in command]
    if not words or not ({words[0], " ".join(words[:2])} & LOOKS):
        raise NotAllowed(
            f"{' '.join(command[:2]) or 'an empty command'} is not on the list of read-only commands: "
            f"{', '.join(sorted(LOOKS))}"
        )


@contextmanager
def _translated(name: str, operation: str) -> Iterator[None]:
    from redis.exceptions import RedisError

    try:
        yield
    except RedisError as error:
        raise failure(error, name, operation) from error


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
        timeout=SECONDS,
        socket_timeout=SECONDS,
        socket_connect_timeout=SECONDS,
        max_connections=MOST_CONNECTIONS,
        client_name="remediator",
    )
    client = redis.Redis.from_pool(pool)
    try:
        yield RedisReader(name, client), RedisWriter(name, client)
    finally:
        await client.aclose()
