"""Answers while the daemon starts and its database is not there yet: alive, not ready, and "send it again"."""

import structlog
from aiohttp import web

from remediator.web.problems import problem

log = structlog.get_logger()


class WaitingRoom:
    def __init__(self) -> None:
        self._reason = "the database is being prepared"

    def wait_for(self, reason: str) -> None:
        """Told once for each reason, however often it is met."""
        if reason != self._reason:
            log.warning("waiting for the database", reason=reason)
        self._reason = reason

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/healthz", self.healthy),
            web.get("/readyz", self.unready),
        ]

    async def healthy(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def unready(self, request: web.Request) -> web.Response:
        return web.json_response({"ready": False, "reasons": [self._reason]}, status=503)

    async def later(self, request: web.Request) -> web.Response:
        """For everything else. 503 to senders too: they try again, where a 404 would make them give up."""
        return problem(503, f"starting: {self._reason}")
