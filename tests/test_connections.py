"""What the daemon's connections owe each other."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler

from remediator.connections import connect
from remediator.settings import Settings


@dataclass
class Hung:
    """Two servers that answer no look until the end."""

    urls: list[str] = field(default_factory=list)
    is_full: asyncio.Event = field(default_factory=asyncio.Event)
    """As many looks are under way as one session makes at once."""
    end: asyncio.Event = field(default_factory=asyncio.Event)
    looks: int = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.looks += 1
        if self.looks == 100:
            self.is_full.set()
        await self.end.wait()
        return web.Response()


@pytest.fixture
async def hung() -> AsyncIterator[Hung]:
    hung = Hung()
    async with AsyncExitStack() as stack:
        for _ in range(2):
            server = await stack.enter_async_context(serving("GET", hung.answer))
            hung.urls.append(str(server.make_url("/")))
        yield hung


@pytest.fixture
async def channel() -> AsyncIterator[str]:
    async def take(request: web.Request) -> web.Response:
        return web.Response()

    async with serving("POST", take) as server:
        yield str(server.make_url("/"))


def serving(method: str, handler: Handler) -> TestServer:
    app = web.Application()
    app.router.add_route(method, "/", handler)
    return TestServer(app)


async def test_a_page_leaves_while_looks_hold_every_connection_that_looks_may_have(hung: Hung, channel: str) -> None:
    async with connect(Settings()) as connections, asyncio.TaskGroup() as looks:
        for url in hung.urls * 50:
            looks.create_task(connections.tools.http.get(url))
        await hung.is_full.wait()

        page = await connections.messengers.http.post(channel, body=b"page", timeout=2)
        hung.end.set()

    assert page.status == 200
