"""For whoever runs the daemon: is the process alive, may traffic come, what are the figures."""

from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from remediator.metrics import Metrics


class Ops:
    def __init__(self, metrics: Metrics, unready: Callable[[], Awaitable[Sequence[str]]]) -> None:
        self._metrics = metrics
        self._unready = unready

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/healthz", self.healthy),
            web.get("/readyz", self.ready),
            web.get("/metrics", self.metrics),
        ]

    async def healthy(self, request: web.Request) -> web.Response:
        """Asks nobody: a restart does not cure a database that is down."""
        return web.json_response({"status": "ok"})

    async def ready(self, request: web.Request) -> web.Response:
        reasons = list(await self._unready())
        return web.json_response({"ready": not reasons, "reasons": reasons}, status=503 if reasons else 200)

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(
            body=self._metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )
