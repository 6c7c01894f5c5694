"""A real Alertmanager whose webhooks reach nobody: what it holds is found by asking, and its configuration is read."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from click.testing import CliRunner

from remediator.cli import main
from remediator.clients.alertmanager import Alertmanager, PeerKind
from remediator.clients.http import open_http
from remediator.settings import PolledSource
from remediator.store.database import Database
from tests.cluster.eventually import eventually
from tests.engine.polling import Watch, watching
from tests.fakes.ports import free_port
from tests.fakes.serving import serving
from tests.monitoring.processes import alertmanager
from tests.system.daemon import TOKEN, Client, running, settings_for
from tests.system.rules import write_rules

pytestmark = [pytest.mark.monitoring, pytest.mark.slow]

NOWHERE = "http://127.0.0.1:1/webhooks/alertmanager"
DOWN = {"alertname": "ServiceDown", "namespace": "prod", "deployment": "backend"}
SILENCED = {"alertname": "ServiceDown", "namespace": "prod", "deployment": "feed"}


async def test_what_no_webhook_told_is_opened_unless_silenced_and_closed_once_it_is_gone(
    tmp_path: Path, database_address: str
) -> None:
    rules = write_rules(tmp_path / "rules")
    async with (
        alertmanager(tmp_path, webhook=NOWHERE, token="unused") as address,
        as_if_up_for(timedelta(hours=1), address) as peer,
        aiohttp.ClientSession(f"http://{address}") as session,
    ):
        await silence(session, deployment="feed")
        await send(session, DOWN, SILENCED)
        settings = settings_for(tmp_path, rules, database_url=database_address, kubeconfig=None).model_copy(
            update={"sources": {"alertmanager": PolledSource(peers=[peer], every_seconds=5)}}
        )
        async with running(settings) as (_, client):
            await eventually(lambda: titles(client, "ServiceDown on deployment/prod/backend"), within=5)
            [row] = (await client.get("/api/v1/sources"))["sources"]
            await silence(session, deployment="backend")
            await client.until(1, lambda seen: "suppressed at its source" in json.dumps(seen["timeline"]))
            await send(session, DOWN, ended=True)
            await eventually(lambda: closed(client), within=30)
            incident = await client.incident(1)
            found = await client.incidents()

    told = [entry["message"] for entry in incident["timeline"]]
    assert (row["peer"], row["firing"], row["suppressed"], row["error"]) == (peer, 1, 1, "")
    assert any("was found by polling alertmanager" in line for line in told)
    assert any("listed by no peer of alertmanager in 3 polls" in line for line in told)
    assert [each["title"] for each in found] == ["ServiceDown on deployment/prod/backend"]


async def test_what_the_webhook_told_and_the_poll_found_is_one_episode(tmp_path: Path, database_address: str) -> None:
    port = free_port()
    webhook = f"http://127.0.0.1:{port}/webhooks/alertmanager"
    settings = settings_for(
        tmp_path, write_rules(tmp_path / "rules"), database_url=database_address, kubeconfig=None
    ).model_copy(update={"port": port})
    async with (
        alertmanager(tmp_path, webhook=webhook, token=TOKEN) as address,
        aiohttp.ClientSession(f"http://{address}") as session,
    ):
        source = PolledSource(peers=[f"http://{address}"], every_seconds=5)
        async with running(settings.model_copy(update={"sources": {"alertmanager": source}})) as (started, client):
            await send(session, DOWN, SILENCED)
            await eventually(lambda: both_told(started.database), within=20)
            async with started.database.connection() as connection:
                episodes = await connection.fetch("SELECT fingerprint FROM episodes")
            found = await client.incidents()

    assert len({row["fingerprint"] for row in episodes}) == len(episodes) == len(found) == 2


async def both_told(database: Database) -> bool:
    """At least one body came by webhook, and two polls saw both alerts since."""
    async with database.connection() as connection:
        return bool(
            await connection.fetchval(
                """SELECT EXISTS (SELECT FROM deliveries WHERE body <> '')
                   AND (SELECT max(epoch) >= 3 FROM source_polls) AND (SELECT sum(firing) = 2 FROM source_peers)"""
            )
        )


async def test_what_a_real_alertmanager_says_of_its_configuration_is_checked(tmp_path: Path) -> None:
    async with alertmanager(tmp_path, webhook=NOWHERE, token="t") as address:
        sources = json.dumps({"alertmanager": {"peers": [f"http://{address}"]}})
        result = await asyncio.to_thread(
            CliRunner().invoke, main, ["sources", "check", "-o", "json"], env={"REMEDIATOR_SOURCES": sources}
        )

    [review] = json.loads(result.output)["sources"]
    assert result.exit_code == 0, result.output
    assert [problem["message"].partition(":")[0] for problem in review["problems"]] == [
        "no time-out",
        "plain http, redirects followed",
    ]


INHIBITED = """
inhibit_rules: [{ source_matchers: [alertname=NodeDown], target_matchers: [alertname=ServiceDown] }]
"""
MUTED = """
  routes: [{ matchers: [alertname=ServiceDown], mute_time_intervals: [always] }]
time_intervals: [{ name: always, time_intervals: [{ times: [{ start_time: '00:00', end_time: '24:00' }] }] }]
"""


async def test_what_is_inhibited_within_its_group_wait_is_never_opened(database: Database, tmp_path: Path) -> None:
    async with (
        alertmanager(tmp_path, webhook=NOWHERE, token="t", group_wait="3s", more=INHIBITED) as address,
        aiohttp.ClientSession(f"http://{address}") as session,
        asking(database, tmp_path, address) as watch,
    ):
        await send(session, DOWN)
        await watch.poll()
        await send(session, {"alertname": "NodeDown"})

        async def opened() -> bool:
            await watch.poll()
            return bool(await watch.episodes())

        await eventually(opened, within=10)
        episodes = await watch.episodes()

    assert [episode["name"] for episode in episodes] == ["NodeDown"]


async def test_what_a_mute_time_holds_back_is_not_opened(database: Database, tmp_path: Path) -> None:
    """Before 0.28 nothing is, and the peer's report says so."""
    async with (
        alertmanager(tmp_path, webhook=NOWHERE, token="t", more=MUTED) as address,
        aiohttp.ClientSession(f"http://{address}") as session,
        asking(database, tmp_path, address) as watch,
    ):
        await send(session, DOWN)

        async def known() -> bool:
            await watch.poll()
            [peer] = await watch.fetch("SELECT suppressed, error FROM source_peers")
            return peer["suppressed"] == 1 or "polls open nothing of it" in peer["error"]

        await eventually(known, within=10)
        await watch.poll()
        episodes = await watch.episodes()

    assert episodes == []


@asynccontextmanager
async def asking(database: Database, folder: Path, address: str) -> AsyncIterator[Watch]:
    """That peer, when a test says so."""
    async with watching(database, folder) as watch, open_http(private_networks=True) as http:
        peer = Alertmanager(f"http://{address}", PeerKind.ALERTMANAGER, http)
        watch.polled = replace(watch.polled, peers=(peer,))
        yield watch


async def titles(client: Client, *expected: str) -> bool:
    return [incident["title"] for incident in await client.incidents()] == list(expected)


async def closed(client: Client) -> bool:
    [row] = (await client.get("/api/v1/sources"))["sources"]
    return bool(row["closed_by_poll"] == 1)


async def send(session: aiohttp.ClientSession, *alerts: dict[str, str], ended: bool = False) -> None:
    end = {"endsAt": datetime.now(UTC).isoformat()} if ended else {}
    async with session.post("/api/v2/alerts", json=[{"labels": labels, **end} for labels in alerts]) as response:
        assert response.status == 200, await response.text()


async def silence(session: aiohttp.ClientSession, **labels: str) -> None:
    now = datetime.now(UTC)
    matchers = [{"name": n, "value": v, "isRegex": False, "isEqual": True} for n, v in labels.items()]
    times = {"startsAt": now.isoformat(), "endsAt": (now + timedelta(hours=1)).isoformat()}
    body = {"matchers": matchers, "createdBy": "alice", "comment": "on it", **times}
    async with session.post("/api/v2/silences", json=body) as response:
        assert response.status == 200, await response.text()


@asynccontextmanager
async def as_if_up_for(time: timedelta, address: str) -> AsyncIterator[str]:
    """In front of a peer that has just started, and would prove nobody's absence for fifteen minutes."""

    async def passed_on(request: web.Request) -> web.Response:
        async with aiohttp.ClientSession() as session, session.get(f"http://{address}{request.rel_url}") as response:
            document = await response.json()
        if request.path.endswith("/status"):
            document["uptime"] = (datetime.now(UTC) - time).isoformat()
        return web.json_response(document)

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", passed_on)])
    async with serving(app) as url:
        yield url
