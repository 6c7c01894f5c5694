"""What the API tells of the senders of alerts: do they answer polls, what did they not tell, how late are they."""

from collections.abc import Sequence

import msgspec
from aiohttp import web

from remediator.domain.errors import NotAllowed
from remediator.domain.ids import SourceName
from remediator.store import sources
from remediator.store.database import Database
from remediator.web.auth import ApiGate, Role


class SourcesApi:
    def __init__(self, database: Database, polled: Sequence[SourceName], *, gate: ApiGate) -> None:
        self._database = database
        self._polled = polled
        self._gate = gate

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/api/v1/sources", self.list_sources)]

    async def list_sources(self, request: web.Request) -> web.Response:
        """Field names are stable: add, never rename."""
        caller = self._gate.caller(request.headers)
        if Role.READ not in caller.roles:
            raise NotAllowed(f"the API token {caller.name!r} lacks the role 'read'")
        async with self._database.connection() as connection:
            rows = await sources.overview(connection, self._polled)
        return web.Response(body=msgspec.json.encode({"sources": rows}), content_type="application/json")
