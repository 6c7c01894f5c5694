"""A write that is begun and then no longer ours: the replica was frozen between its last look and the write."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from remediator.actions.flush_cache import FlushCache
from remediator.domain.incident import Incident, IntentState
from remediator.domain.plan import Plan
from remediator.domain.target import Target
from remediator.engine.execution import carry_out, new_intent
from remediator.store.intents import StoredIntent
from remediator.toolbox import Toolbox, WriteToolbox
from tests.actions.test_kubernetes_actions import incident_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LEASE = timedelta(minutes=1)
FLUSH = FlushCache(connection="cache", pattern="feed:*", timeout="10s")
PLAN = Plan("flush_cache", Target("redis", "cache"), "flush", (), "", parameters=FLUSH.model_dump(mode="json"))


@dataclass
class Cache:
    """Of so many keys; the replica is frozen while it lists them, or after the first batch was unlinked."""

    keys_held: int
    frozen: str
    at: datetime = NOW
    unlinked: int = 0

    async def keys(self, _pattern: str, *, at_most: int) -> Sequence[bytes]:
        if self.frozen == "while looking":
            self.at += LEASE
        return [b"feed"] * min(self.keys_held - self.unlinked, at_most)

    async def unlink(self, keys: Sequence[bytes]) -> int:
        self.unlinked += len(keys)
        if self.frozen == "after a batch":
            self.at += LEASE
        return len(keys)


@pytest.mark.parametrize(
    ("frozen", "unlinked", "state"),
    [
        pytest.param("never", 700, IntentState.DONE, id="in time"),
        pytest.param("while looking", 0, IntentState.FAILED, id="nothing is written"),
        pytest.param("after a batch", 500, IntentState.UNKNOWN, id="what is left is left to a person"),
    ],
)
async def test_a_replica_that_was_frozen_past_its_lease_writes_no_more(
    frozen: str, unlinked: int, state: IntentState
) -> None:
    cache: Any = Cache(700, frozen)
    look = Toolbox(http=SimpleNamespace(), redis_readers={"cache": cache})  # type: ignore[arg-type]  # not asked
    desk: Any = SimpleNamespace(
        tools=look, writers=WriteToolbox(look, redis_writers={"cache": cache}), clock=lambda: cache.at
    )
    incident: Incident = replace(incident_of(PLAN.target), epoch=1, lease_until=NOW + LEASE)
    intent = new_intent(incident, "fix[0]", PLAN, action=FLUSH)

    result = await carry_out(StoredIntent(intent, 1, IntentState.BEGUN, ""), incident, desk)

    assert (cache.unlinked, result.result) == (unlinked, state)
