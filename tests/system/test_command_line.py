"""The command line against a running daemon: tables for people, JSON for programs, exit codes for scripts."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest

from tests.fakes.kubernetes import FakeCluster
from tests.system.conftest import SettingsOf
from tests.system.daemon import API_TOKEN, running, told

ALERT = {"alertname": "ServiceDown", "namespace": "prod", "deployment": "backend"}
DONE, FAILURE, USAGE, REFUSED = 0, 1, 2, 4


@dataclass
class Terminal:
    url: str

    async def run(self, *arguments: str, token: str = API_TOKEN) -> tuple[int, str]:
        """Exit code, and what was printed on both streams."""
        environment = os.environ | {"REMEDIATOR_URL": self.url, "REMEDIATOR_TOKEN": token}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-W",
            "ignore",
            "-m",
            "remediator",
            *arguments,
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
        return process.returncode or 0, printed.decode()


@pytest.fixture
async def terminal(settings_of: SettingsOf, fake_cluster: FakeCluster) -> AsyncIterator[Terminal]:
    """With incident 1 proposed: a plan waits for approval."""
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.break_until_restarted("prod", "backend", pods=1)
    async with running(settings_of("suggest")) as (started, client):
        await client.alert(**ALERT)
        await client.until(1, lambda seen: seen["phase"] == "proposed")
        await client.until(1, lambda seen: any("sent to alice" in line for line in told(seen)))
        yield Terminal(started.url)


async def test_people_get_a_table_and_programs_json(terminal: Terminal) -> None:
    _, table = await terminal.run("incidents", "list")
    code, document = await terminal.run("incidents", "list", "-o", "json")
    _, shown = await terminal.run("incidents", "show", "1")

    assert table.splitlines()[0].split() == ["ID", "STATUS", "SEVERITY", "AUTOMATION", "TARGET", "AGE", "TITLE"]
    assert "deployment/prod/backend" in table
    assert (code, json.loads(document)[0]["phase"]) == (DONE, "proposed")
    assert "waits for approval of plan" in shown
    assert "summary     The health check has failed." in shown
    assert "link        Errors: https://grafana.example.invalid/d/errors" in shown


async def test_an_approval_for_another_plan_is_refused_and_for_this_one_taken(terminal: Terminal) -> None:
    _, document = await terminal.run("incidents", "show", "1", "-o", "json")
    digest = json.loads(document)["plan"]["digest"]

    wrong, why = await terminal.run("incidents", "approve", "1", "--plan", "0" * 16)
    right, _ = await terminal.run("incidents", "approve", "1", "--plan", digest)

    assert (wrong, right) == (REFUSED, DONE)
    assert "read it again" in why


async def test_acknowledging_and_resolving_name_the_person(terminal: Terminal) -> None:
    acknowledged, after = await terminal.run("incidents", "ack", "1")
    resolved, _ = await terminal.run("incidents", "resolve", "1", "--note", "by hand")
    _, shown = await terminal.run("incidents", "show", "1")
    too_late, why = await terminal.run("incidents", "ack", "1")

    assert (acknowledged, resolved) == (DONE, DONE)
    assert (too_late, "is over (resolved by tests: by hand)" in why) == (REFUSED, True)
    assert re.search(r"\n\d{4}-\d\d-\d\d UTC\n\d\d:\d\d:\d\d  ", shown)
    assert "acknowledged by tests" in after
    assert "resolved by tests: by hand" in shown


async def test_the_kill_switch_says_who_and_why(terminal: Terminal) -> None:
    _, before = await terminal.run("kill-switch")
    await terminal.run("kill-switch", "on", "--reason", "migration")
    _, after = await terminal.run("kill-switch", "show")

    assert (before.strip(), after.strip()) == ("kill switch: off", "kill switch: on, by tests: migration")


@pytest.mark.parametrize(
    ("arguments", "token", "code"),
    [
        pytest.param(("incidents", "list"), "wrong", REFUSED, id="a wrong token"),
        pytest.param(("incidents", "show", "99"), API_TOKEN, FAILURE, id="no such incident"),
        pytest.param(("incidents", "show", "x"), API_TOKEN, USAGE, id="not a number"),
        pytest.param(("incidents", "list", "--url", "http://127.0.0.1:1"), API_TOKEN, FAILURE, id="nobody there"),
    ],
)
async def test_what_goes_wrong_has_its_exit_code(
    terminal: Terminal, arguments: tuple[str, ...], token: str, code: int
) -> None:
    assert (await terminal.run(*arguments, token=token))[0] == code


async def test_a_browser_logs_in_with_the_token_and_sees_the_timeline(terminal: Terminal) -> None:
    login = {"Authorization": aiohttp.encode_basic_auth("anybody", API_TOKEN)}
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{terminal.url}/incidents") as refused:
            challenge = refused.headers.get("WWW-Authenticate", "")
        async with session.get(f"{terminal.url}/", headers=login) as listed:
            page = await listed.text()
        async with session.get(f"{terminal.url}/incidents/1", headers=login) as shown:
            timeline = await shown.text()
        async with session.get(f"{terminal.url}/static/remediator.css") as style:
            assert style.status == 200

    assert (refused.status, challenge) == (401, "Basic")
    assert "deployment/prod/backend" in page
    assert "waits for approval" in timeline
