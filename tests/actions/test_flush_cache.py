"""How many keys are flushed, what an approval covers of it, and what is told of a flush that broke off."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis

from remediator.actions.flush_cache import FlushCache
from remediator.clients.redis_target import RedisReader, RedisWriter, connect_redis
from remediator.domain.errors import Ambiguous, Permanent, Temporary
from remediator.domain.plan import Plan, Unit
from remediator.domain.target import Target
from remediator.toolbox import Toolbox, WriteToolbox
from tests.actions.bench import INTENT, incident_of

INCIDENT = incident_of(Target("deployment", "backend", "prod"))
FLUSH = FlushCache(connection="cache", pattern="feed:*", at_most=40)
NOBODY: Any = SimpleNamespace()
"""For what is not asked."""


@dataclass
class Cache:
    client: Redis
    writers: WriteToolbox

    async def fill(self, count: int) -> None:
        await self.client.flushdb()
        await self.client.mset({"other": "kept", **{f"feed:{number}": "x" for number in range(count)}})

    async def planned(self, action: FlushCache = FLUSH) -> Plan:
        plan = await action.plan(INCIDENT, self.writers.look)
        assert isinstance(plan, Plan), plan
        return plan


@pytest.fixture
async def cache(valkey_url: str) -> AsyncIterator[Cache]:
    client = Redis.from_url(valkey_url)
    async with connect_redis("cache", valkey_url) as (reader, writer):
        look = Toolbox(http=NOBODY, redis_readers={"cache": reader})
        yield Cache(client, WriteToolbox(look, redis_writers={"cache": writer}))
    await client.flushdb()
    await client.aclose()


@pytest.mark.parametrize(
    ("found", "bound"),
    [(1, 1), (3, 4), (16, 16), (17, 32), (33, 40), (90, 40)],
    ids=["one", "rounded up", "a power of two", "just above one", "capped", "more than may be"],
)
async def test_a_plan_disturbs_as_many_keys_as_it_may_remove(cache: Cache, found: int, bound: int) -> None:
    """A budget and a person judge by the same number, and the write is held to it."""
    await cache.fill(found)

    plan = await cache.planned()

    assert (plan.units, plan.unit) == (bound, Unit.KEYS)
    assert plan.calls[0].body == {"at_most": bound}


async def test_no_more_is_removed_than_was_approved_however_much_there_is_by_then(cache: Cache) -> None:
    await cache.fill(10)
    plan = await cache.planned()
    await cache.fill(90)

    outcome = await FLUSH.run(plan, INTENT, cache.writers)

    assert outcome.detail == "16 keys unlinked"
    assert await cache.client.dbsize() == 90 + 1 - 16


async def test_what_the_release_before_planned_is_held_to_what_its_rule_says(cache: Cache) -> None:
    await cache.fill(90)
    plan = await cache.planned()

    outcome = await FLUSH.run(replace(plan, calls=(replace(plan.calls[0], body=None),)), INTENT, cache.writers)

    assert outcome.detail == "40 keys unlinked"


async def test_an_approval_is_for_about_so_many_keys(cache: Cache) -> None:
    digests = []
    for count in (9, 10, 16, 17):
        await cache.fill(count)
        digests.append((await cache.planned()).digest)

    assert len(set(digests[:3])) == 1
    assert digests[3] not in digests[:3]


@dataclass
class Wire:
    """To a Redis with seven hundred keys that answers the second batch with an error."""

    error: Exception
    refuses: int = 2
    name: str = "cache"
    asked: int = 0

    async def ask(self, operation: str, command: Callable[["Wire"], Any]) -> Any:
        if operation == "UNLINK":
            self.asked += 1
            if self.asked == self.refuses:
                raise self.error
        return await command(self)

    async def scan(self, *_: object, **__: object) -> tuple[int, list[bytes]]:
        return 0, [b"feed:%d" % number for number in range(700)]

    async def unlink(self, *keys: bytes) -> int:
        return len(keys)

    def tools(self) -> WriteToolbox:
        lines: Any = self
        look = Toolbox(http=NOBODY, redis_readers={"cache": RedisReader(lines)})
        return WriteToolbox(look, redis_writers={"cache": RedisWriter(lines)})


READONLY = Permanent("READONLY You can't write against a read only replica.", system="redis cache", operation="UNLINK")
LOST = Temporary("Connection reset by peer", system="redis cache", operation="UNLINK")


async def test_a_flush_that_broke_off_is_told_with_what_it_removed() -> None:
    """As failed it would be journalled as if nothing had gone."""
    tools = Wire(READONLY).tools()
    flush = FlushCache(connection="cache", pattern="feed:*")
    plan = await flush.plan(INCIDENT, tools.look)
    assert isinstance(plan, Plan)

    outcome = await flush.run(plan, INTENT, tools)

    assert outcome.done
    assert outcome.detail.startswith("500 keys unlinked, then: ")
    assert "READONLY" in outcome.detail


@pytest.mark.parametrize(
    ("wire", "error"),
    [
        pytest.param(Wire(READONLY, refuses=1), Permanent, id="nothing was removed"),
        pytest.param(Wire(LOST), Ambiguous, id="nobody knows"),
    ],
)
async def test_a_flush_that_removed_nothing_or_who_knows_what_is_no_success(wire: Wire, error: type[Exception]) -> None:
    tools = wire.tools()
    flush = FlushCache(connection="cache", pattern="feed:*")
    plan = await flush.plan(INCIDENT, tools.look)
    assert isinstance(plan, Plan)

    with pytest.raises(error):
        await flush.run(plan, INTENT, tools)
