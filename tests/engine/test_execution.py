"""A write that is begun and then no longer ours: the replica was frozen between its last look and the write."""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from remediator.actions.flush_cache import FlushCache
from remediator.clients.kubernetes import KubernetesWriter
from remediator.clients.redis_target import RedisReader, RedisWriter
from remediator.domain.errors import NotFound
from remediator.domain.incident import IntentResult, IntentState, JournalledIntent
from remediator.domain.plan import Observed, Plan
from remediator.domain.target import Target
from remediator.engine.execution import carry_out, new_intent
from remediator.toolbox import Toolbox, WriteToolbox
from tests.actions.bench import incident_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LEASE = timedelta(minutes=1)
FLUSH = FlushCache(connection="cache", pattern="feed:*", timeout="10s")
PLAN = Plan("flush_cache", Target("redis", "cache"), "flush", (), "", parameters=FLUSH.model_dump(mode="json"))
NOBODY: Any = SimpleNamespace()
"""For what is not asked."""


@dataclass
class Cache:
    """The wire to a Redis with seven hundred keys. The replica is frozen past its lease before it is first used for
    `frozen_before`, or after the first batch."""

    frozen_before: str
    name: str = "cache"
    at: datetime = NOW
    unlinked: int = 0

    async def ask(self, operation: str, command: Callable[["Cache"], Any]) -> Any:
        if operation == self.frozen_before:
            self.at += LEASE
        return await command(self)

    async def scan(self, *_: object, **__: object) -> tuple[int, list[bytes]]:
        return 0, [b"feed:%d" % number for number in range(self.unlinked, 700)]

    async def unlink(self, *keys: bytes) -> int:
        self.unlinked += len(keys)
        if self.frozen_before == "never, but a bug":
            raise KeyError("a bug in the client")
        if self.frozen_before == "the second batch":
            self.at += LEASE
        return len(keys)


@pytest.mark.parametrize(
    ("frozen_before", "unlinked", "state"),
    [
        pytest.param("never", 700, IntentState.DONE, id="in time"),
        pytest.param("SCAN", 0, IntentState.FAILED, id="while it looked"),
        pytest.param("UNLINK", 0, IntentState.FAILED, id="while it waited for a connection"),
        pytest.param("never, but a bug", 500, IntentState.UNKNOWN, id="a bug after a write: likewise"),
        pytest.param("the second batch", 500, IntentState.UNKNOWN, id="between two writes: a person sees to the rest"),
    ],
)
async def test_a_replica_that_was_frozen_past_its_lease_writes_no_more(
    frozen_before: str, unlinked: int, state: IntentState
) -> None:
    cache = Cache(frozen_before)

    result = await _carried_out(cache)

    assert (cache.unlinked, result.result) == (unlinked, state)


async def test_no_write_begins_with_less_of_the_lease_left_than_it_may_take() -> None:
    """Another replica would look for it while it is under way."""
    cache = Cache("never", at=NOW + LEASE - FLUSH.timeout)

    result = await _carried_out(cache)

    assert (cache.unlinked, result.result) == (0, IntentState.FAILED)
    assert "too little of the lease was left" in result.detail


async def _carried_out(wire: Any) -> IntentResult:
    look = Toolbox(http=NOBODY, redis_readers={"cache": RedisReader(wire)})
    writers = WriteToolbox(look, redis_writers={"cache": RedisWriter(wire)})
    desk: Any = SimpleNamespace(tools=look, writers=writers, clock=lambda: wire.at)
    incident = replace(incident_of(PLAN.target), epoch=1, lease_until=NOW + LEASE)
    intent = new_intent(incident, "fix[0]", PLAN, action=FLUSH)

    return await carry_out(JournalledIntent(intent, 1, IntentState.BEGUN, ""), incident, desk)


async def test_a_write_that_this_release_cannot_read_has_a_result_all_the_same() -> None:
    """Else its incident would be kept for ever, as one with a write that may be under way."""
    incident = replace(incident_of(PLAN.target), epoch=2)
    intent = new_intent(incident, "fix[0]", changed(PLAN, action="of_a_later_release"), action=FLUSH)

    result = await carry_out(JournalledIntent(intent, 1, IntentState.BEGUN, ""), incident, NOBODY)

    assert (result.result, "of_a_later_release" in result.detail) == (IntentState.UNKNOWN, True)


@pytest.mark.parametrize("error", [NotFound("it is gone"), KeyError("a bug in looking")])
async def test_a_write_that_cannot_be_looked_for_has_a_result_all_the_same(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def look(*_: object) -> Observed:
        raise error

    monkeypatch.setattr(FlushCache, "observe", look)
    incident = replace(incident_of(PLAN.target), epoch=2)
    desk: Any = SimpleNamespace(tools=NOBODY)

    result = await carry_out(
        JournalledIntent(new_intent(incident, "fix[0]", PLAN, action=FLUSH), 1, IntentState.BEGUN, ""), incident, desk
    )

    assert result.result is IntentState.UNKNOWN


def test_the_writer_of_the_cluster_is_fenced_too() -> None:
    """When it asks: `tests/clients/test_kubernetes_writes.py`."""

    def fence() -> None: ...

    assert WriteToolbox(Toolbox(http=NOBODY), KubernetesWriter(NOBODY)).fenced(fence).kubernetes.fence is fence
