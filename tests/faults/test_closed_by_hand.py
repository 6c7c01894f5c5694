"""A person closes an incident whose write was cut short: what the write did is still found out, and taken back."""

import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.cluster.eventually import eventually
from tests.fakes.kubernetes import FakeCluster
from tests.faults.nursery import Nursery
from tests.faults.serving import serving
from tests.system.daemon import API_TOKEN, TOKEN
from tests.system.rules import rule_with, write_rules
from tests.system.test_crashes import expire_leases

ALERT = {"alertname": "ServiceDown", "namespace": "prod", "deployment": "backend"}
LEASED_FIX = "{ use: scale, by: 1, undo_after: 1s }"


@pytest.fixture
def environment(tmp_path: Path, database_address: str, fake_cluster: FakeCluster) -> dict[str, str]:
    return {
        "DATABASE_URL": database_address,
        "REMEDIATOR_MODE": "act",
        "REMEDIATOR_DATA_DIR": str(tmp_path / "data"),
        "REMEDIATOR_RULES_DIR": str(write_rules(tmp_path / "rules", **{"service-down": rule_with(LEASED_FIX)})),
        "REMEDIATOR_WEBHOOKS__TOKENS": json.dumps({"alertmanager": [TOKEN]}),
        "REMEDIATOR_API_TOKENS": json.dumps({"tests": {"token": API_TOKEN, "roles": ["read", "respond"]}}),
        "REMEDIATOR_KUBERNETES__ENABLED": "true",
        "REMEDIATOR_KUBERNETES__KUBECONFIG": str(fake_cluster.write_kubeconfig(tmp_path / "kubeconfig")),
        "REMEDIATOR_ENGINE__POLL_SECONDS": "0.05",
    }


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("mark", "results"),
    [
        pytest.param("WRITE_DONE", ["done", "done"], id="it was done: it is undone"),
        pytest.param("WRITE_BEGINS", ["failed"], id="it was not done: there is nothing to undo"),
    ],
)
async def test_a_write_that_was_under_way_is_looked_for_although_a_person_closed_the_incident(
    environment: dict[str, str], fake_cluster: FakeCluster, tmp_path: Path, mark: str, results: list[str]
) -> None:
    fake_cluster.deploy("prod", "backend", replicas=2)
    dsn = environment["DATABASE_URL"]

    async with Nursery.open() as nursery:
        async with serving(nursery, environment | {"FAULTS_MARK": mark}, tmp_path) as (dies, client):
            await client.alert(**ALERT)
            await dies.ended
        async with serving(nursery, environment, tmp_path) as (_, client):
            status, _ = await client.post("/api/v1/incidents/1/resolve", {})
            held = await _look(dsn, "SELECT lease_until > now() FROM incidents")
            await expire_leases(dsn)
            await eventually(lambda: _has_come_to_rest(dsn))

    assert (status, held) == (200, [True])
    assert await _look(dsn, "SELECT state FROM intents ORDER BY begun_at") == results
    assert fake_cluster.deployment("prod", "backend")["spec"]["replicas"] == 2


async def _has_come_to_rest(dsn: str) -> bool:
    return await _look(dsn, "SELECT wake_at IS NULL AND lease_until IS NULL FROM incidents") == [True]


async def _look(dsn: str, query: str) -> list[Any]:
    """The one column of every row."""
    connection = await asyncpg.connect(dsn)
    try:
        return [row[0] for row in await connection.fetch(query)]
    finally:
        await connection.close()
