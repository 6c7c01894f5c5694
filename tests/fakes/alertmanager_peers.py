"""Two Alertmanager peers as their receiver meets them: whole groups, told again, late, twice and out of order.

After Alertmanager's own pipeline (facts: intake 1.3-1.5): a flush takes its alerts, waits for the peers before it, asks
the notification log whether there is news, and sends, again and again where it got a 5xx or no answer, until the flush
is over. Nothing counts as sent without a 2xx. `Truth` knows what really fired; `Cluster.deliveries` who was told what.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random

import aiohttp

_SWALLOWED = 202
YEAR_1 = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Timing:
    """In seconds. Alertmanager's defaults, some hundred times faster."""

    group_wait: float = 0.1
    group_interval: float = 0.5
    repeat_interval: float = 2.0
    peer_wait: float = 0.25
    flush_deadline: float = 1.5
    first_back_off: float = 0.05
    answer_within: float = 10.0
    told_again_after: float = 4.0
    """Prometheus tells a peer that has just started what fires: of a group of rules with an interval of ten minutes."""
    times_faster: float = 150
    """What a peer says of how long it has run."""


@dataclass(frozen=True, slots=True)
class Wire:
    """How bad the network is, for each attempt."""

    loses_requests: float = 0
    loses_answers: float = 0
    longest_delay: float = 0
    swallows: float = 0
    """Requests that something in between takes, answers with a 2xx, and forgets."""


@dataclass(slots=True)
class Firing:
    """An alert that really fired, from its start to its end."""

    fingerprint: str
    labels: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        return self.ends_at is not None


class Truth:
    """What fires in the world, whoever hears of it."""

    def __init__(self) -> None:
        self._present: dict[str, Firing] = {}
        self.history: list[Firing] = []
        """Every firing that there ever was, by its start."""
        self.listeners: list[Callable[[Firing], None]] = []

    def fire(self, labels: Mapping[str, str]) -> Firing:
        """The firing under way, where there is one."""
        fingerprint = fingerprint_of(labels)
        present = self._present.get(fingerprint)
        if present is None or present.is_over:
            present = self._present[fingerprint] = Firing(fingerprint, dict(labels), datetime.now(UTC))
            self.history.append(present)
            for listener in self.listeners:
                listener(present)
        return present

    def resolve(self, labels: Mapping[str, str]) -> None:
        present = self._present.get(fingerprint_of(labels))
        if present is not None and not present.is_over:
            present.ends_at = datetime.now(UTC)

    def latest(self) -> list[Firing]:
        """How every alert that ever fired stands now."""
        return list(self._present.values())


@dataclass(frozen=True, slots=True)
class Told:
    """One alert as one delivery tells it."""

    fingerprint: str
    labels: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime | None

    @property
    def is_firing(self) -> bool:
        return self.ends_at is None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt, as the peer knows of it."""

    peer: int
    alerts: tuple[Told, ...]
    truncated: int
    answered: int | None
    """The status; None where no answer came, so that it may have been stored or not."""
    number: int
    """Its body alone has it, in the key of its group."""
    answered_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """Or given up."""

    @property
    def is_accepted(self) -> bool:
        return self.answered is not None and self.answered < 300


@dataclass(frozen=True, slots=True)
class _Entry:
    """What the notification log knows of a group: written after a 2xx only."""

    firing: frozenset[str]
    resolved: frozenset[str]
    at: float


class Peer:
    """One Alertmanager. Peers behind the first wait their turn, with alerts that age meanwhile."""

    def __init__(self, cluster: "Cluster", position: int) -> None:
        self._cluster = cluster
        self._position = position
        self._groups: dict[str, dict[str, Firing]] = {}
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._restarted_at: float | None = None
        self.log: dict[str, _Entry] = {}

    def hear(self, firing: Firing) -> None:
        """Prometheus tells every peer that it reaches."""
        if not self._cluster.reaches(self._position, firing.labels):
            return
        key = self._cluster.group_of(firing.labels)
        self._groups.setdefault(key, {})[firing.fingerprint] = firing
        if key not in self._loops:
            self._loops[key] = asyncio.create_task(self._tell_of(key))

    @property
    def firing(self) -> list[Firing]:
        """What it would list."""
        return [firing for group in self._groups.values() for firing in group.values() if not firing.is_over]

    @property
    def up_for(self) -> timedelta:
        """As it says itself."""
        if self._restarted_at is None:
            return timedelta(hours=1)
        return timedelta(seconds=(_now() - self._restarted_at) * self._cluster.timing.times_faster)

    async def restart(self) -> None:
        """It forgets what it has sent, for its log is written to disk every 15 minutes only; and what fires, until it
        is told again. What ended meanwhile nobody tells it."""
        await self.stop()
        self._restarted_at = _now()
        self.log.clear()
        self._groups.clear()
        await asyncio.sleep(self._cluster.timing.told_again_after)
        for firing in self._cluster.truth.latest():
            if not firing.is_over:
                self.hear(firing)

    async def stop(self) -> None:
        loops = list(self._loops.values())
        self._loops.clear()
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)

    async def _tell_of(self, key: str) -> None:
        await asyncio.sleep(self._cluster.timing.group_wait)
        while key in self._loops:  # a request that times out while it is cancelled swallows the cancellation
            await self._flush(key)
            await asyncio.sleep(self._cluster.timing.group_interval)

    async def _flush(self, key: str) -> None:
        group = self._groups.get(key, {})
        alerts = [told(firing) for firing in sorted(group.values(), key=lambda firing: sorted(firing.labels.items()))]
        await asyncio.sleep(self._position * self._cluster.timing.peer_wait)
        if not self._has_news(self._entry(key), alerts):
            return
        if await self._send(alerts):
            self.log[key] = _Entry(
                frozenset(a.fingerprint for a in alerts if a.is_firing),
                frozenset(a.fingerprint for a in alerts if not a.is_firing),
                _now(),
            )
            for alert in alerts:
                known = group.get(alert.fingerprint)
                if known is not None and not alert.is_firing and known.starts_at == alert.starts_at:
                    del group[alert.fingerprint]

    def _entry(self, key: str) -> _Entry | None:
        """The newest, of all peers where they can talk to each other."""
        peers = self._cluster.peers if self._cluster.gossips else [self]
        return max((peer.log[key] for peer in peers if key in peer.log), key=lambda entry: entry.at, default=None)

    def _has_news(self, entry: _Entry | None, alerts: Sequence[Told]) -> bool:
        firing = {alert.fingerprint for alert in alerts if alert.is_firing}
        resolved = {alert.fingerprint for alert in alerts if not alert.is_firing}
        if entry is None:
            return bool(firing)
        if firing - entry.firing:
            return True
        if not firing:
            return bool(entry.firing and resolved)
        return bool(resolved - entry.resolved) or _now() - entry.at > self._cluster.timing.repeat_interval

    async def _send(self, alerts: Sequence[Told]) -> bool:
        """Until the flush is over, unless the answer says that the same again is of no use."""
        timing, pause = self._cluster.timing, self._cluster.timing.first_back_off
        ends = _now() + timing.flush_deadline
        while True:
            answered = await self._cluster.deliver(alerts, peer=self._position)
            if answered is not None and answered < 500:
                return answered < 300
            if _now() + pause > ends:
                return False
            await asyncio.sleep(pause)
            pause *= 1.5


@dataclass
class Cluster:
    """Peers, their network and their receivers. `max_alerts` cuts groups, as the setting of that name does."""

    truth: Truth
    receivers: Callable[[], Sequence[str]]
    """The webhook addresses; each attempt takes one of them, as a Service would."""
    token: str
    session: aiohttp.ClientSession
    random: Random
    timing: Timing = Timing()
    wire: Wire = Wire()
    grouped_by: tuple[str, ...] = ("alertname",)
    gossips: bool = True
    max_alerts: int = 0
    reaches: Callable[[int, Mapping[str, str]], bool] = lambda peer, labels: True
    """Whether that peer hears of an alert with these labels."""
    withholds: Callable[[Told, int], bool] = lambda told, peer: False
    """What of a peer no notification ever tells, although its sender thinks so: muted when it was its turn, say."""
    is_polled: bool = False
    """Whoever asks for the truth need not be told the whole of it."""
    deliveries: list[Delivery] = field(default_factory=list)
    peers: list[Peer] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    @asynccontextmanager
    async def running(self, peers: int = 2) -> AsyncIterator["Cluster"]:
        self.peers = [Peer(self, position) for position in range(peers)]
        self.truth.listeners += [peer.hear for peer in self.peers]
        try:
            yield self
        finally:
            await self.stop()

    async def stop(self) -> None:
        for peer in self.peers:
            await peer.stop()

    async def tell_the_truth(self) -> None:
        """The last word: every alert as it stands now, on a sound network, until each has its 2xx."""
        await self.stop()
        self.wire, self.max_alerts = Wire(), self.max_alerts if self.is_polled else 0
        self.timing = replace(self.timing, answer_within=Timing().answer_within)
        alerts = [told(firing) for firing in self.truth.latest()]
        while alerts:
            answered = await self.deliver(alerts, peer=0)
            if answered is not None and answered < 300:
                return
            await asyncio.sleep(self.timing.first_back_off)

    def group_of(self, labels: Mapping[str, str]) -> str:
        return ",".join(f"{name}={labels.get(name, '')}" for name in self.grouped_by)

    async def deliver(self, alerts: Sequence[Told], *, peer: int) -> int | None:
        """One attempt: the status, or None where no answer came."""
        within = alerts[: self.max_alerts] if self.max_alerts else alerts
        truncated = len(alerts) - len(within)
        sent = tuple(alert for alert in within if not self.withholds(alert, peer))
        if not sent or (self.wire.swallows and self.random.random() < self.wire.swallows):
            return _SWALLOWED
        number = next(self._numbers)
        answered = await self._post(envelope(sent, truncated=truncated, peer=peer, number=number))
        self.deliveries.append(Delivery(peer, sent, truncated, answered, number))
        return answered

    async def _post(self, body: Mapping[str, object]) -> int | None:
        await asyncio.sleep(self.random.uniform(0, self.wire.longest_delay))
        receivers = self.receivers()
        if not receivers or self.random.random() < self.wire.loses_requests:
            return None
        try:
            async with self.session.post(
                self.random.choice(receivers),
                json=body,
                headers={"Authorization": f"Bearer {self.token}"},
                timeout=aiohttp.ClientTimeout(self.timing.answer_within),
            ) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError):
            return None
        return None if self.random.random() < self.wire.loses_answers else status


def told(firing: Firing) -> Told:
    return Told(firing.fingerprint, firing.labels, firing.starts_at, firing.ends_at)


def envelope(alerts: Sequence[Told], *, truncated: int = 0, peer: int = 0, number: int = 0) -> dict[str, object]:
    """The webhook's body, version 4."""
    return {
        "version": "4",
        "groupKey": f"{{}}:{{}}:{number}",
        "truncatedAlerts": truncated,
        "status": "firing" if any(alert.is_firing for alert in alerts) else "resolved",
        "receiver": "remediator",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": f"http://alertmanager-{peer}:9093",
        "alerts": alerts_of(alerts),
    }


def alerts_of(alerts: Sequence[Told]) -> list[dict[str, object]]:
    """As the body lists them."""
    return [
        {
            "status": "firing" if alert.is_firing else "resolved",
            "labels": dict(alert.labels),
            "annotations": {},
            "startsAt": alert.starts_at.isoformat(),
            "endsAt": YEAR_1 if alert.ends_at is None else alert.ends_at.isoformat(),
            "generatorURL": "",
            "fingerprint": alert.fingerprint,
        }
        for alert in alerts
    ]


def fingerprint_of(labels: Mapping[str, str]) -> str:
    return hashlib.sha256(repr(sorted(labels.items())).encode()).hexdigest()[:16]


def _now() -> float:
    return asyncio.get_running_loop().time()
