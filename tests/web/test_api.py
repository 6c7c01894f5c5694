"""The API's door: who asks is known before a body is read, and a body is small and comes soon."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from remediator.engine.bell import Bell
from remediator.engine.guidance import GuidanceReader
from remediator.engine.links import Links
from remediator.engine.pages import PageWriter
from remediator.engine.respond import Responder
from remediator.rules.loader import load_rules
from remediator.settings import ApiToken
from remediator.store.database import Database
from remediator.web import api as door
from remediator.web.api import MOST_BYTES, Api
from remediator.web.auth import ApiGate
from remediator.web.server import make_app
from tests.rules.folder import write_rules

Client = TestClient[web.Request, web.Application]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SWITCH = "/api/v1/kill-switch"
TOKENS = {
    "reader": {"token": "reads", "roles": ["read"]},
    "responder": {"token": "responds", "roles": ["read", "respond"]},
}
RESPONDER = {"Authorization": "Bearer responds"}
PADDED = b'{"on": true, "reason": ""}'.ljust(MOST_BYTES)


@pytest.fixture
async def client(database: Database, tmp_path: Path) -> AsyncIterator[Client]:
    gate = ApiGate({name: ApiToken.model_validate(token) for name, token in TOKENS.items()})
    writer = PageWriter("https://remediator.example.invalid", Links(b"secret", lambda: NOW))
    rulebook = load_rules(write_rules(tmp_path)).rulebook
    guidance = GuidanceReader(database, lambda: rulebook)
    api = Api(database, Responder(database, writer, Bell()), guidance=guidance, gate=gate)
    async with TestClient(TestServer(make_app(api, body_limit=64 << 20))) as client:
        yield client


@asynccontextmanager
async def half_sent(client: Client, *, headers: dict[str, str]) -> AsyncIterator[Any]:
    """The answer to a body of which only the first bytes ever come."""

    async def body() -> AsyncIterator[bytes]:
        yield b'{"on"'
        await asyncio.Event().wait()

    async with asyncio.timeout(5), client.put(SWITCH, data=body(), headers=headers) as answer:
        yield answer


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 401, id="a stranger"),
        pytest.param({"Authorization": "Bearer wrong"}, 401, id="a wrong token"),
    ],
)
async def test_who_is_nobody_is_refused_before_the_body_is_there(
    client: Client, headers: dict[str, str], status: int
) -> None:
    async with half_sent(client, headers=headers) as answer:
        assert (answer.status, answer.content_type) == (status, "application/problem+json")


async def test_a_body_that_does_not_come_is_not_waited_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "READ_WITHIN", timedelta(milliseconds=50))

    async with half_sent(client, headers=RESPONDER) as answer:
        assert (answer.status, answer.content_type) == (408, "application/problem+json")


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 10_000):
        yield body[start : start + 10_000]


@pytest.mark.parametrize("path", [SWITCH, "/api/v1/incidents/1/resolve"])
@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_beyond_the_limit_is_413(client: Client, path: str, announced: bool) -> None:
    body = PADDED + b" "
    method = "PUT" if path == SWITCH else "POST"

    answer = await client.request(method, path, data=body if announced else in_pieces(body), headers=RESPONDER)

    assert (answer.status, answer.content_type) == (413, "application/problem+json")
    assert "64 KiB" in (await answer.json())["detail"]


@pytest.mark.parametrize(
    ("token", "on", "status"),
    [("reads", "true", 409), ("responds", "true", 200), ("responds", "false", 409)],
)
async def test_who_may_respond_may_stop_everything_and_not_start_it(
    client: Client, token: str, on: str, status: int
) -> None:
    body = b'{"on": %s}' % on.encode()

    answer = await client.put(SWITCH, data=body.ljust(MOST_BYTES), headers={"Authorization": f"Bearer {token}"})

    assert answer.status == status
