"""What the daemon calls during a run, in a process of its own: pages come in here, looks are answered or kept waiting.

`python -m tests.bench.sink PORT REDIS`
"""

import asyncio
import sys
import time

import uvloop
from aiohttp import web
from redis.asyncio import Redis


class Sink:
    def __init__(self, cache: Redis | None) -> None:
        self._cache = cache
        self._pages: dict[str, float] = {}

    async def page(self, request: web.Request) -> web.Response:
        self._pages.setdefault(request.headers["webhook-id"], time.time())
        return web.Response()

    async def pages(self, request: web.Request) -> web.Response:
        """When each page came in first, by its dedup key, on this machine's clock."""
        return web.json_response(self._pages)

    async def slow(self, request: web.Request) -> web.Response:
        """As long as any look may take."""
        await asyncio.sleep(600)
        return web.Response()

    async def cold(self, request: web.Request) -> web.Response:
        """Looking at it fills the cache that the fix will flush, so that there is one key an incident under way."""
        assert self._cache is not None
        await self._cache.set(f"{request.match_info['name']}:page", b"stale")
        return web.Response(text="stale")

    async def well(self, request: web.Request) -> web.Response:
        return web.Response(text="well")


async def serve(port: int, cache: str) -> None:
    sink = Sink(Redis.from_url(cache) if cache else None)
    app = web.Application()
    app.add_routes(
        [
            web.post("/page", sink.page),
            web.get("/pages", sink.pages),
            web.get("/slow", sink.slow),
            web.get("/cold/{name}", sink.cold),
            web.get("/well", sink.well),
            web.get("/readyz", sink.well),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(serve(int(sys.argv[1]), sys.argv[2]))
