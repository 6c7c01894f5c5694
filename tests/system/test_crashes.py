"""kill -9 on a real process: what was acknowledged is carried on, and nothing is written twice."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.cluster.eventually import eventually
from tests.fakes.kubernetes import FakeCluster
from tests.system.daemon import API_TOKEN, TOKEN, Client
from tests.system.rules import write_rules

ALERT = {"alertname": "ServiceDown", "namespace": "prod", "deployment": "backend"}


@asynccontextmanager
async def serving(environment: dict[str, str]) -> AsyncIterator[tuple[asyncio.subprocess.Process, Client]]:
    """`remediator serve`, ready; killed with -9 on leaving if it still runs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-m", "remediator", "serve", env=os.environ | environment
    )
    try:
        async with aiohttp.ClientSession() as session:
            client = Client(f"http://127.0.0.1:{environment['REMEDIATOR_PORT']}", session)
            await eventually(lambda: is_ready(client), within=30)
            yield process, client
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def is_ready(client: Client) -> bool:
    try:
        async with client.session.get(f"{client.url}/readyz") as response:
            return response.status == 200
    except aiohttp.ClientConnectionError:
        return False


@pytest.fixture
def environment(tmp_path: Path, database_address: str, fake_cluster: FakeCluster) -> dict[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    return {
        "DATABASE_URL": database_address,
        "REMEDIATOR_MODE": "act",
        "REMEDIATOR_PORT": str(port),
        "REMEDIATOR_DATA_DIR": str(tmp_path / "data"),
        "REMEDIATOR_RULES_DIR": str(write_rules(tmp_path / "rules")),
        "REMEDIATOR_WEBHOOKS__TOKENS": f'{{"alertmanager": ["{TOKEN}"]}}',
        "REMEDIATOR_API_TOKENS": f'{{"tests": {{"token": "{API_TOKEN}", "roles": ["read", "respond"]}}}}',
        "REMEDIATOR_KUBERNETES__ENABLED": "true",
        "REMEDIATOR_KUBERNETES__KUBECONFIG": str(fake_cluster.write_kubeconfig(tmp_path / "kubeconfig")),
        "REMEDIATOR_ENGINE__LEASE_SECONDS": "20",
        "REMEDIATOR_ENGINE__POLL_SECONDS": "0.05",
        "REMEDIATOR_ENGINE__RECHECK_SECONDS": "0.1",
    }


async def expire_leases(database_address: str) -> None:
    """What 20 seconds would do."""
    import asyncpg

    connection = await asyncpg.connect(database_address)
    await connection.execute("UPDATE incidents SET lease_until = now() - interval '1 second'")
    await connection.close()


async def test_an_acknowledged_alert_survives_a_kill_right_after_its_2xx(
    environment: dict[str, str], fake_cluster: FakeCluster, database_address: str
) -> None:
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.break_until_restarted("prod", "backend", pods=1)

    async with serving(environment) as (process, client):
        assert await client.alert(**ALERT) == 202
        process.kill()
        await process.wait()
    await expire_leases(database_address)
    async with serving(environment) as (_, client):
        await client.until(1, lambda seen: seen["status"] == "resolved")

    assert len(fake_cluster.requests.writes) == 1


async def test_a_kill_during_the_write_is_followed_by_a_look_and_never_by_a_second_write(
    environment: dict[str, str], fake_cluster: FakeCluster, database_address: str
) -> None:
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.break_until_restarted("prod", "backend", pods=1)

    async with serving(environment) as (process, client):
        await client.alert(**ALERT)
        async with asyncio.timeout(15):
            while not fake_cluster.requests.writes:  # noqa: ASYNC110  # the fake runs in this very loop
                await asyncio.sleep(0)
        process.kill()
        await process.wait()
    await expire_leases(database_address)
    async with serving(environment) as (_, client):
        incident = await client.until(1, lambda seen: seen["status"] == "resolved")

    assert len(fake_cluster.requests.writes) == 1
    assert any("seen in the world" in entry["message"] for entry in incident["timeline"])


async def test_sigterm_stops_it_cleanly(environment: dict[str, str]) -> None:
    async with serving(environment) as (process, _):
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 15) == 0
