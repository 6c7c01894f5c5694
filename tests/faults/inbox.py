"""Where pages arrive: one HTTP server for all seeds, an inbox for each, and channels that fail as the scenario says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from aiohttp import web

from tests.fakes.serving import serving
from tests.faults.rules import CHANNELS
from tests.faults.scenario import PagerFault

_PAGER = CHANNELS[0]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message that the channel has taken, whether or not it said so."""

    channel: str
    dedup_key: str
    incident: int
    kind: str
    was_answered: bool = True
    title: str = ""


@dataclass(slots=True)
class Inbox:
    fault: PagerFault | None = None
    arrivals: list[Arrival] = field(default_factory=list)
    _asked: int = 0

    def copy(self) -> "Inbox":
        """As it stands."""
        return replace(self, arrivals=list(self.arrivals))

    def pages_about(self, incident: int) -> list[Arrival]:
        """Also those of a dry run."""
        return [a for a in self.arrivals if a.incident == incident and a.kind in {"page", "review"}]

    def answer(self, channel: str) -> int:
        """A status; 0 for a message that is taken and never answered."""
        self._asked += 1
        match self.fault:
            case PagerFault.BUSY if channel == _PAGER and self._asked <= 3:
                return 503
            case PagerFault.REFUSES if channel == _PAGER:
                return 400
            case PagerFault.SILENT if self._asked <= 2:
                return 0
            case PagerFault.ALL_DEAD if self._asked <= 3:
                return 400
            case _:
                return 200


class Post:
    """The server. `inboxes` by the name in the path."""

    def __init__(self) -> None:
        self.url = ""
        self.inboxes: dict[str, Inbox] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator["Post"]:
        post = cls()
        app = web.Application()
        app.add_routes([web.post("/{name}/{channel}", post._receive)])
        async with serving(app) as post.url:
            yield post

    async def _receive(self, request: web.Request) -> web.Response:
        inbox = self.inboxes[request.match_info["name"]]
        channel, message = request.match_info["channel"], await request.json()
        status = inbox.answer(channel)
        if status < 300:
            key, title = request.headers["webhook-id"], message["title"]
            inbox.arrivals.append(Arrival(channel, key, message["incident"], message["kind"], status > 0, title))
        if status == 0 and request.transport is not None:
            request.transport.close()
        return web.Response(status=status or 200)
