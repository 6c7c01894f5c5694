"""HTTP in: the routes together, and the port they are served on."""

import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Protocol

from aiohttp import web

from remediator.web.problems import Handler, nothing_here, telling_errors

STOP_WITHIN_SECONDS = 10.0
KEEP_ALIVE_SECONDS = 75.0
BACKLOG = 4096
"""A real Alertmanager opens 2,000-3,000 connections at once (facts: engine)."""


class Routes(Protocol):
    def routes(self) -> Iterable[web.RouteDef]: ...


def make_app(*parts: Routes, body_limit: int, elsewhere: Handler = nothing_here) -> web.Application:
    """`body_limit` in bytes, for every body there is; `elsewhere` answers what no route takes."""
    app = web.Application(client_max_size=body_limit)
    routes = [route for part in parts for route in part.routes()]
    for route in (*routes, web.route("*", "/{path:(?s:.*)}", elsewhere)):
        app.add_routes([web.RouteDef(route.method, route.path, telling_errors(route.handler), route.kwargs)])
    return app


@asynccontextmanager
async def listen(app: web.Application, port: socket.socket) -> AsyncIterator[None]:
    """Serves while entered; on leaving, requests under way have `STOP_WITHIN_SECONDS` to end."""
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=STOP_WITHIN_SECONDS,
        keepalive_timeout=KEEP_ALIVE_SECONDS,
        auto_decompress=False,
    )
    await runner.setup()
    await web.SockSite(runner, port, backlog=BACKLOG).start()
    try:
        yield
    finally:
        await runner.cleanup()
