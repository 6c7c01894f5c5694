"""The peers as who polls them meets them: what fires by their own state, how long they run, and ways not to answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from aiohttp import web

from tests.fakes.alertmanager_peers import Cluster, Firing, Peer
from tests.fakes.serving import serving
from tests.faults.scenario import PeerFault, PeerTrouble

_HANGS_FOR = 1.2
RESTART_SHADOW = timedelta(minutes=5)
"""So long after its start nothing follows from what a peer does not list."""


@dataclass(frozen=True, slots=True)
class Poll:
    """A whole answer of one peer."""

    peer: int
    at: datetime
    """When it looked."""
    listed: frozenset[str]
    is_young: bool


@dataclass
class Polled:
    """Answers for each peer under a path of its own."""

    troubles: tuple[PeerTrouble, ...]
    url: str = ""
    polls: list[Poll] = field(default_factory=list)
    alertmanager: Cluster | None = None
    """None: its peers have not come up yet."""
    _faults: dict[int, PeerFault] = field(default_factory=dict)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["Polled"]:
        app = web.Application()
        app.add_routes([web.get("/{peer}/api/v2/alerts", self._list), web.get("/{peer}/api/v2/status", self._status)])
        async with serving(app) as self.url:
            yield self

    async def befall(self, trouble: PeerTrouble) -> None:
        await asyncio.sleep(trouble.begins_at)
        if trouble.fault is PeerFault.RESTARTS:
            await self._peer(trouble.peer).restart()
            return
        self._faults[trouble.peer] = trouble.fault
        await asyncio.sleep(trouble.ends_at - trouble.begins_at)
        del self._faults[trouble.peer]

    async def _list(self, request: web.Request) -> web.Response:
        number = int(request.match_info["peer"])
        peer, fault = self._peer(number), self._faults.get(number)
        if fault is PeerFault.ERRORS:
            return web.Response(status=500)
        poll = Poll(
            number,
            datetime.now(UTC),
            frozenset(firing.fingerprint for firing in peer.firing),
            is_young=peer.up_for < RESTART_SHADOW,
        )
        answer = web.json_response([_listed(firing) for firing in peer.firing])
        if fault in {PeerFault.HANGS, PeerFault.LATE}:
            await asyncio.sleep(_HANGS_FOR)
        if fault in {PeerFault.HANGS, PeerFault.DOWN} and request.transport is not None:
            request.transport.close()
        elif fault is PeerFault.TORN:
            answer = web.Response(body=b'[{"fingerprint": "', content_type="application/json")
        else:
            self.polls.append(poll)
        return answer

    async def _status(self, request: web.Request) -> web.Response:
        started_at = datetime.now(UTC) - self._peer(int(request.match_info["peer"])).up_for
        return web.json_response({"uptime": started_at.isoformat(), "config": {"original": ""}})

    def _peer(self, number: int) -> Peer:
        if self.alertmanager is None:
            raise web.HTTPServiceUnavailable(reason="it has not come up yet")
        return self.alertmanager.peers[number]


def _listed(firing: Firing) -> dict[str, object]:
    return {
        "fingerprint": firing.fingerprint,
        "labels": dict(firing.labels),
        "annotations": {},
        "startsAt": firing.starts_at.isoformat(),
        "endsAt": "2099-01-01T00:00:00Z",
        "receivers": [{"name": "remediator"}],
        "status": {"state": "active", "silencedBy": [], "inhibitedBy": [], "mutedBy": []},
        "generatorURL": "",
    }
