"""The peers as who polls them meets them: what fires by their own state, how long they run, and ways not to answer."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from aiohttp import web

from tests.fakes.alertmanager_peers import Cluster, Firing, Peer
from tests.fakes.serving import serving
from tests.faults.alarms import number_of
from tests.faults.scenario import PeerFault, PeerTrouble, Silence

_HANGS_FOR = 1.2
RESTART_SHADOW = timedelta(minutes=15)
"""So long after its start nothing follows from what a peer does not list."""


@dataclass(frozen=True, slots=True)
class Poll:
    """A whole answer of one peer."""

    peer: int
    at: datetime
    """When it looked."""
    listed: frozenset[str]
    suppressed: frozenset[str]
    """Of those: by a silence."""
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
    _silenced: set[tuple[int, int]] = field(default_factory=set)
    """Peers, and the alarms that they tell nobody of."""

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

    async def silence(self, silence: Silence, peer: int) -> None:
        """As that peer hears of it."""
        await asyncio.sleep(silence.begins_at + peer * silence.lag)
        self._silenced.add((peer, silence.alarm))
        await asyncio.sleep(silence.ends_at - silence.begins_at)
        self._silenced.discard((peer, silence.alarm))

    def is_silenced(self, labels: Mapping[str, str], *, peer: int) -> bool:
        return (peer, number_of(labels)) in self._silenced

    async def _list(self, request: web.Request) -> web.Response:
        number = int(request.match_info["peer"])
        peer, fault = self._peer(number), self._faults.get(number)
        if fault is PeerFault.ERRORS:
            return web.Response(status=500)
        suppressed = {f.fingerprint for f in peer.firing if self.is_silenced(f.labels, peer=number)}
        poll = Poll(
            number,
            datetime.now(UTC),
            frozenset(firing.fingerprint for firing in peer.firing),
            frozenset(suppressed),
            is_young=peer.up_for < RESTART_SHADOW,
        )
        answer = web.json_response([_listed(firing, firing.fingerprint in suppressed) for firing in peer.firing])
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
        assert self.alertmanager is not None
        waits = f"{self.alertmanager.timing.group_wait * 1000:.0f}ms"
        config = {"original": f"route: {{ receiver: remediator, group_wait: {waits} }}"}
        return web.json_response({"uptime": started_at.isoformat(), "config": config})

    def _peer(self, number: int) -> Peer:
        if self.alertmanager is None:
            raise web.HTTPServiceUnavailable(reason="it has not come up yet")
        return self.alertmanager.peers[number]


def _listed(firing: Firing, is_suppressed: bool) -> dict[str, object]:
    state, silenced_by = ("suppressed", ["a-silence"]) if is_suppressed else ("active", [])
    return {
        "fingerprint": firing.fingerprint,
        "labels": dict(firing.labels),
        "annotations": {},
        "startsAt": firing.starts_at.isoformat(),
        "endsAt": "2099-01-01T00:00:00Z",
        "receivers": [{"name": "remediator"}],
        "status": {"state": state, "silencedBy": silenced_by, "inhibitedBy": [], "mutedBy": []},
        "generatorURL": "",
    }
