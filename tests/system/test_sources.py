"""A polled source in the running daemon: repaired at once after a start, and told to whoever asks."""

import json
from datetime import timedelta

import aiohttp
import pytest

from remediator.engine import unpolled
from remediator.settings import PolledSource
from remediator.store.database import Database
from tests.cluster.eventually import eventually
from tests.fakes.alertmanager import fake_alertmanager
from tests.system.conftest import SettingsOf
from tests.system.daemon import TOKEN, Client, payload, running
from tests.system.test_command_line import Terminal

DOWN = {"alertname": "ServiceDown", "namespace": "prod", "deployment": "backend"}
FEED = DOWN | {"deployment": "feed"}


async def test_what_fires_at_the_start_is_opened_at_once_and_listed_as_a_repair(settings_of: SettingsOf) -> None:
    async with fake_alertmanager() as answers, fake_alertmanager() as refuses:
        answers.fire(**DOWN)
        refuses.answers_with = 401
        polled = PolledSource(peers=[answers.url, refuses.url])
        settings = settings_of().model_copy(update={"sources": {"alertmanager": polled}})
        async with running(settings) as (started, client):
            await eventually(lambda: incidents(client, 1), within=5)
            terminal = Terminal(started.url)
            await eventually(lambda: repaired(client, 1), within=5)
            _, table = await terminal.run("sources", "list")
            code, document = await terminal.run("sources", "list", "-o", "json")

    rows = {row["peer"]: row for row in json.loads(document)}
    assert code == 0
    assert table.splitlines()[0].split()[:5] == ["SOURCE", "PEER", "KIND", "POLLED", "FIRING"]
    assert (rows[answers.url]["firing"], rows[answers.url]["opened_by_poll"], rows[answers.url]["error"]) == (1, 1, "")
    assert "another `token` or `basic` login" in rows[refuses.url]["error"]
    assert rows[answers.url]["lag_p99_seconds"] >= 0


async def test_a_truncated_webhook_fetches_the_rest_long_before_the_next_poll(settings_of: SettingsOf) -> None:
    async with fake_alertmanager() as peer:
        settings = settings_of().model_copy(
            update={"sources": {"alertmanager": PolledSource(peers=[peer.url], every_seconds=60)}}
        )
        async with running(settings) as (_, client):
            await eventually(lambda: polled_times(client, peer.url), within=5)
            peer.fire(**DOWN)
            peer.fire(**FEED)
            body = payload("firing", DOWN) | {"truncatedAlerts": 1}
            async with client.session.post(
                f"{client.url}/webhooks/alertmanager", json=body, headers={"Authorization": f"Bearer {TOKEN}"}
            ) as response:
                assert response.status == 202
            await eventually(lambda: incidents(client, 2), within=10)

    assert peer.polls == 2


async def test_a_source_that_is_not_polled_is_listed_with_its_lag(settings_of: SettingsOf) -> None:
    async with running(settings_of()) as (_, client):
        await client.alert(**DOWN)
        [row] = (await client.get("/api/v1/sources"))["sources"]

    assert (row["source"], row["peer"]) == ("alertmanager", None)
    assert row["lag_p50_seconds"] is not None


async def test_a_source_that_was_taken_out_holds_no_fix_after_the_next_start(
    settings_of: SettingsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpolled, "EVERY", timedelta(milliseconds=100))
    settings = settings_of()
    async with running(settings) as (started, client):
        await client.alert(**DOWN)
        async with started.database.connection() as connection:
            await connection.execute(
                """UPDATE episodes SET suppressed_by = 'silence s-1';
                   INSERT INTO source_polls (source, started_at, due_at)
                   VALUES ('alertmanager', now() - interval '7 min', now() - interval '6 min')"""
            )
    async with running(settings) as (started, _):
        await eventually(lambda: nothing_suppressed(started.database), within=5)


async def test_sources_are_told_to_those_who_may_read_only(settings_of: SettingsOf) -> None:
    async with (
        running(settings_of()) as (started, _),
        aiohttp.ClientSession() as stranger,
        stranger.get(f"{started.url}/api/v1/sources") as response,
    ):
        assert response.status == 401


async def incidents(client: Client, number: int) -> bool:
    return len(await client.incidents()) == number


async def repaired(client: Client, number: int) -> bool:
    rows = (await client.get("/api/v1/sources"))["sources"]
    return any(row["opened_by_poll"] == number for row in rows)


async def polled_times(client: Client, peer: str) -> bool:
    rows = (await client.get("/api/v1/sources"))["sources"]
    return [row["peer"] for row in rows] == [peer]


async def nothing_suppressed(database: Database) -> bool:
    async with database.connection() as connection:
        return bool(await connection.fetchval("SELECT NOT EXISTS (SELECT FROM episodes WHERE suppressed_by <> '')"))
