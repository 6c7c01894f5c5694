"""Promise: in observe mode nothing can be written. Every action there is, against servers that record every request."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import redis.asyncio as redis
from pydantic import SecretStr

from remediator.actions import Action
from remediator.catalogue import plugins_of
from remediator.connections import connect
from remediator.settings import Settings
from tests.fakes.kubernetes import FakeCluster
from tests.system.conftest import SettingsOf
from tests.system.daemon import running, told
from tests.system.rules import rule_with

ALERT = {"alertname": "ServiceDown", "namespace": "prod", "deployment": "backend"}
STEPS = {
    "delete_pod": "{ use: delete_pod, pods: '${{ diagnose.pods.failing_names }}' }",
    "restart": "{ use: restart }",
    "rollback": "{ use: rollback }",
    "scale": "{ use: scale, by: 1, undo_after: 1s }",
    "flush_cache": "{ use: flush_cache, connection: cache, pattern: 'feed:*' }",
}
"""One step for each action; the first test below fails when an action is missing here."""


def test_every_action_is_tried_here() -> None:
    assert set(STEPS) == set(plugins_of(Action))


@dataclass
class Scene:
    """A broken Deployment in its second revision, a cache with one key, and a rule with the one action."""

    settings: Settings
    cluster: FakeCluster
    cache: redis.Redis


@pytest.fixture(params=STEPS)
async def action(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def scene(
    action: str, mode: str, settings_of: SettingsOf, fake_cluster: FakeCluster, valkey_url: str
) -> AsyncIterator[Scene]:
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.set_image("prod", "backend", image="registry.example/app:2")
    fake_cluster.break_until_restarted("prod", "backend", pods=1)
    cache = redis.Redis.from_url(valkey_url)
    await cache.set("feed:1", "kept")
    settings = settings_of(mode, **{"service-down": rule_with(STEPS[action])})
    yield Scene(settings.model_copy(update={"redis": {"cache": SecretStr(valkey_url)}}), fake_cluster, cache)
    await cache.aclose()


@pytest.mark.parametrize("mode", ["observe"])
async def test_it_is_planned_and_rehearsed_and_nothing_is_written(scene: Scene) -> None:
    async with running(scene.settings) as (_, client):
        await client.alert(**ALERT)
        incident = await client.until(1, lambda seen: seen["phase"] == "handed_over")

    assert any(line.startswith("rehearsal fix[0]") for line in told(incident)), told(incident)
    assert any("would have done" in line for line in told(incident)), told(incident)
    assert scene.cluster.requests.writes == []
    assert await scene.cache.get("feed:1") == b"kept"


@pytest.mark.parametrize("mode", ["act"])
async def test_in_act_mode_the_very_same_step_does_write(scene: Scene, action: str) -> None:
    """Or else the test above would prove nothing."""
    async with running(scene.settings) as (_, client):
        await client.alert(**ALERT)
        await client.until(1, lambda seen: any(line.startswith("fix fix[0]: done") for line in told(seen)))

    seen = (len(scene.cluster.requests.writes), await scene.cache.get("feed:1"))
    assert seen == ((0, None) if action == "flush_cache" else (1, b"kept"))


async def test_a_pod_that_would_be_deleted_past_its_budget_is_still_there(
    settings_of: SettingsOf, fake_cluster: FakeCluster
) -> None:
    """To the API server the rehearsal of a deletion was the deletion."""
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.add_budget("prod", "backend", app="backend", min_available=2)
    broken = fake_cluster.break_until_restarted("prod", "backend", pods=2)

    async with running(settings_of("observe", **{"service-down": rule_with(STEPS["delete_pod"])})) as (_, client):
        await client.alert(**ALERT)
        incident = await client.until(1, lambda seen: seen["phase"] == "handed_over")

    assert any("would accept" in line for line in told(incident)), told(incident)
    assert any(request.method == "DELETE" for request in fake_cluster.requests)
    assert fake_cluster.requests.writes == []
    assert set(broken) <= {pod["metadata"]["name"] for pod in fake_cluster.pods("prod", "backend")}


async def test_the_means_to_write_are_never_built(settings_of: SettingsOf) -> None:
    async with connect(settings_of("observe")) as connections:
        assert connections.writers is None
