"""A second sender, beside the two peers: each of its alerts is told in one body, and so nothing else hides what becomes
of it.

It pours where the database's connections are dropped, sends what cannot be read, and knocks at every replica when the
troubles are over.

No rule wants what it pours; what it knocks with opens an incident like any other.
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from random import Random

import aiohttp
import msgspec

from tests.fakes.alertmanager_peers import Firing, Told, envelope, fingerprint_of, told
from tests.faults.alarms import NAMESPACE
from tests.faults.evidence import Knock, Sent
from tests.faults.fleet import Fleet, Replica
from tests.faults.garbling import garbled
from tests.faults.people import PATIENCE, REFUSALS
from tests.faults.rules import UNWANTED
from tests.faults.scenario import REST_WITHIN, Garbled, Trouble

SOURCE = "crowd"
TOKEN = "crowd-token"
KNOCKS_FOR = 12.0
"""Seconds, before it gives up: longer than a replica may take to open again."""
_SENDERS = 6
_AT_ONCE = 3
"""Alerts a body."""
_BREATH = 0.01


@dataclass
class Crowd:
    fleet: Fleet
    session: aiohttp.ClientSession
    random: Random
    sent: list[Sent] = field(default_factory=list)
    knocks: list[Knock] = field(default_factory=list)
    firings: list[Firing] = field(default_factory=list)
    """What it has knocked with."""
    _numbers: Iterator[int] = field(default_factory=count)

    async def pour(self, *, seconds: float) -> None:
        ends = time.monotonic() + seconds
        async with asyncio.TaskGroup() as senders:
            for _ in range(_SENDERS):
                senders.create_task(self._pour_until(ends))

    async def garble(self, garbling: Garbled) -> None:
        await asyncio.sleep(garbling.at)
        neighbours = [told(self._unwanted()) for _ in range(_AT_ONCE)]
        sent = garbled(garbling.what, neighbours, number=next(self._numbers), random=self.random)
        await self._insist(self._kept(sent))

    async def knock(self, *, edition: int) -> None:
        """At every door, behind which that edition of the rules should be known."""
        async with asyncio.TaskGroup() as knocking:
            for replica in self.fleet.replicas:
                knocking.create_task(self._knock_at(replica, edition))

    async def take_back(self) -> None:
        """What it has knocked with ends, and somebody is told so."""
        for firing in self.firings:
            firing.ends_at = datetime.now(UTC)
        if self.firings:
            await asyncio.wait_for(self._insist(self._body(*map(told, self.firings))), REST_WITHIN)

    async def _pour_until(self, ends: float) -> None:
        while time.monotonic() < ends:
            await self._insist(self._body(*(told(self._unwanted()) for _ in range(_AT_ONCE))))
            await asyncio.sleep(_BREATH)

    async def _knock_at(self, replica: Replica, edition: int) -> None:
        """Once more where it died or froze over it: a fault may be waiting for just one more alert."""
        while True:
            began = time.monotonic()
            firing = self._ordinary()
            status = await self._until_accepted(self._body(told(firing)), replica.url)
            if replica in self.fleet.standing(since=began):
                break
        self.knocks.append(Knock(replica.url, status, time.monotonic() - began, firing.fingerprint, edition))

    async def _until_accepted(self, sent: Sent, url: str) -> int:
        """The last answer."""
        ends, status = time.monotonic() + KNOCKS_FOR, 0
        while status != 202 and time.monotonic() < ends:
            status = await self._post(sent, url) or 0
            await asyncio.sleep(0 if status == 202 else 0.1)
        return status

    def _ordinary(self) -> Firing:
        number = next(self._numbers)
        labels = {"alertname": Trouble.LOOK.value, "namespace": NAMESPACE, "deployment": f"knock-{number}"}
        self.firings.append(firing := _firing(labels))
        return firing

    async def _insist(self, sent: Sent) -> None:
        """Until it is answered for good, by whichever replica."""
        while True:
            status = await self._post(sent, self.random.choice(self.fleet.urls()))
            if status is not None and status < 500:
                return
            await asyncio.sleep(0.05)

    async def _post(self, sent: Sent, url: str) -> int | None:
        """None where no answer came."""
        sent.attempts += 1
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        asking = self.session.post(f"{url}/webhooks/alertmanager", data=sent.body, headers=headers, timeout=PATIENCE)
        try:
            async with asking as answer:
                sent.answers[answer.status] += 1
                if answer.status == 202:
                    receipt = await answer.json()
                    sent.receipts.append((receipt["stored"], receipt["rejected"]))
                return answer.status
        except REFUSALS:
            return None

    def _body(self, *alerts: Told) -> Sent:
        unwanted = tuple(alert.fingerprint for alert in alerts if alert.labels["alertname"] == UNWANTED)
        wanted = tuple(a.fingerprint for a in alerts if a.is_firing and a.fingerprint not in unwanted)
        return self._kept(Sent(msgspec.json.encode(envelope(alerts)), unwanted, wanted, readable=len(alerts)))

    def _kept(self, sent: Sent) -> Sent:
        self.sent.append(sent)
        return sent

    def _unwanted(self) -> Firing:
        return _firing({"alertname": UNWANTED, "instance": str(next(self._numbers))})


def _firing(labels: dict[str, str]) -> Firing:
    return Firing(fingerprint_of(labels), labels, datetime.now(UTC))
