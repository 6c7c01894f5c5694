"""Anti-entropy at work: asks every peer of a source what fires, and repairs what its webhooks did not tell.

What is repaired goes the ordinary way through intake: de-duplication, matching and the first deadline are those of a
webhook. Replicas share the work by claiming a source; one that was overtaken while it asked changes nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec
import structlog

from remediator.catalogue import plugins_of
from remediator.clients.alertmanager import Alertmanager, ListedAlert, PeerKind
from remediator.domain.alert import Accepted, Alert, AlertStatus, Delivery
from remediator.domain.errors import Permanent, RemediatorError
from remediator.domain.ids import EpisodeId, Fingerprint, SourceName
from remediator.domain.reconciliation import Absence, Repairs, reconcile
from remediator.engine.bell import Bell
from remediator.engine.inquiry import Answer, Inquiry
from remediator.engine.intake import Intake
from remediator.engine.room import Hold
from remediator.metrics import Metrics
from remediator.sources import Source
from remediator.store import reconciliation, sources
from remediator.store.database import Database
from remediator.store.sources import PeerReport, Round

log = structlog.get_logger()

LEASE = timedelta(seconds=30)
"""For one round: the peers' answers, and what has to be filed. What is left of a longer one is the next one's, and a
replica that died in the middle of one costs no more than a poll."""
ALERTS_A_DELIVERY = 2_000
"""A repair of thousands must not keep webhooks from their commit."""
_PRIVATE = "__"
_WEBHOOK_VERSIONS = {PeerKind.ALERTMANAGER: "4", PeerKind.GRAFANA: "1"}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Polled:
    """One source, and who is asked about it."""

    source: SourceName
    kind: PeerKind
    receiver: str
    """Only alerts routed to it are ours."""
    every: timedelta
    peers: tuple[Alertmanager, ...]


_Heard = Answer | RemediatorError
"""What came of asking one peer."""


class Reconciler:
    def __init__(self, database: Database, intake: Intake, polled: Sequence[Polled], *, metrics: Metrics) -> None:
        self._database = database
        self._intake = intake
        self._polled = {each.source: each for each in polled}
        self._metrics = metrics
        self._bells = {source: Bell() for source in self._polled}
        self._wanted: set[SourceName] = set()
        self._inquiry = Inquiry()

    async def run(self) -> None:
        """Until cancelled. The first round of each source begins at once."""
        async with asyncio.TaskGroup() as group:
            for polled in self._polled.values():
                group.create_task(self._keep_polling(polled))

    def poll_soon(self, source: SourceName) -> None:
        """Its sender left alerts out: they are fetched now, not in half a minute."""
        if source in self._polled:
            self._wanted.add(source)
            self._bells[source].ring()

    async def poll(self, polled: Polled) -> bool:
        """One round, if it is due and nobody else is at it. Raises `RemediatorError`: the next round tries again."""
        async with self._database.transaction() as tx:
            claimed = await sources.claim(
                tx, polled.source, every=polled.every, lease=LEASE, early=polled.source in self._wanted
            )
        if claimed is None:
            return False
        at_once = polled.source in self._wanted
        self._wanted.discard(polled.source)
        repaired = Counter[str]()
        try:
            async with asyncio.timeout(LEASE.total_seconds()):
                await self._reconcile(claimed, polled, repaired, at_once=at_once)
        finally:
            async with self._database.transaction() as tx:
                await sources.finish(tx, claimed, opened=repaired["opened"], closed=repaired["closed"])
        return True

    async def _keep_polling(self, polled: Polled) -> None:
        await self._enrol(polled)
        while True:
            try:
                await self.poll(polled)
                wait = await self._wait(polled)
            except (RemediatorError, TimeoutError) as error:
                log.warning("source not reconciled", source=polled.source, error=str(error) or "out of time")
                wait = polled.every
            except Exception as error:  # a bug here must cost neither webhooks nor pages: they run on
                log.exception("source not reconciled", source=polled.source, error=str(error))
                wait = polled.every
            await self._bells[polled.source].wait(wait)

    async def _enrol(self, polled: Polled) -> None:
        while True:
            try:
                async with self._database.transaction() as tx:
                    await sources.enrol(tx, [polled.source])
            except RemediatorError as error:
                log.warning("source not enrolled", source=polled.source, error=str(error))
                await asyncio.sleep(1)
            else:
                return

    async def _wait(self, polled: Polled) -> timedelta:
        async with self._database.connection() as connection:
            wait = await sources.due_in(connection, polled.source)
        most = sources.EARLIEST_AGAIN if polled.source in self._wanted else polled.every
        return min(wait, most) if wait is not None else most

    async def _reconcile(self, claimed: Round, polled: Polled, repaired: Counter[str], *, at_once: bool) -> None:
        answers = await asyncio.gather(*(self._ask(peer, polled) for peer in polled.peers))
        async with self._database.connection() as connection:
            episodes = await reconciliation.open_episodes(connection, polled.source)
        views = [answer.view if isinstance(answer, Answer) else None for answer in answers]
        repairs = await asyncio.to_thread(reconcile, episodes, views, at=claimed.started_at, at_once=at_once)
        since = await self._record(claimed, polled, answers, repairs=repairs)
        repaired["opened"] = await self._open(polled, answers, repairs, since=since)
        gone = {episode: repairs.absences[episode] for episode in repairs.gone}
        repaired["closed"] = await self._close(polled, gone, at=claimed.started_at, since=since)
        self._count(polled.source, repaired)

    async def _ask(self, peer: Alertmanager, polled: Polled) -> _Heard:
        answer = await self._answer(peer, polled.receiver)
        result = "answered" if isinstance(answer, Answer) else "failed"
        self._metrics.polls.labels(source=polled.source, result=result).inc()
        return answer

    async def _answer(self, peer: Alertmanager, receiver: str) -> _Heard:
        try:
            return await self._inquiry.ask(peer, receiver)
        except RemediatorError as error:
            log.warning("peer not polled", peer=peer.url, error=str(error))
            return error
        except Exception as error:  # an answer that nobody thought of must not cost what the other peers list
            log.exception("peer not polled", peer=peer.url, error=str(error))
            return Permanent(f"{type(error).__name__}: {error}", system=peer.url, operation="poll")

    async def _record(
        self,
        claimed: Round,
        polled: Polled,
        answers: Sequence[_Heard],
        *,
        repairs: Repairs,
    ) -> datetime:
        """Under the fence. Gives the time before anything is opened or closed."""
        reports = [_report(peer, answer) for peer, answer in zip(polled.peers, answers, strict=True)]
        async with self._database.transaction() as tx:
            since = await sources.hold_fence(tx, claimed)
            await sources.keep_reports(tx, claimed, reports)
            await reconciliation.keep(tx, polled.source, repairs)
            await reconciliation.tell_gone(tx, polled.source, {i: repairs.absences[i] for i in repairs.gone})
            await reconciliation.tell_foreign(tx, polled.source, repairs.foreign)
            unheard = not any(isinstance(answer, Answer) for answer in answers) and await sources.is_unheard(
                tx, claimed
            )
            if unheard:
                await reconciliation.tell_unheard(tx, polled.source)
        if repairs.foreign:
            log.warning(
                "alerts that no peer ever listed: does another sender use this login?",
                source=polled.source,
                alerts=len(repairs.foreign),
            )
        return since

    async def _open(
        self,
        polled: Polled,
        answers: Sequence[_Heard],
        repairs: Repairs,
        *,
        since: datetime,
    ) -> int:
        """How many episodes that opened: some are late news of what has ended, which intake knows."""
        untold = (*repairs.unknown, *repairs.restarted)
        if not untold:
            return 0
        listed = _notifiable(answers)
        for part in _parts([listed[fingerprint] for fingerprint in untold]):
            await self._intake.accept(_as_told(part, polled))
        async with self._database.transaction() as tx:
            return await reconciliation.tell_opened(tx, polled.source, repairs.unknown, since=since)

    async def _close(self, polled: Polled, gone: Mapping[EpisodeId, Absence], *, at: datetime, since: datetime) -> int:
        if not gone:
            return 0
        async with self._database.connection() as connection:
            alerts = await reconciliation.alerts_of(connection, list(gone), untold_since=at)
        ended = [_ended(alert, polled.kind, gone[episode].since or at) for episode, alert in alerts.items()]
        for part in _parts(ended):
            await self._intake.accept(Delivery(polled.source, b"", tuple(part)))
        async with self._database.connection() as connection:
            return await reconciliation.count_closed(connection, list(gone), since=since)

    def _count(self, source: SourceName, repaired: Counter[str]) -> None:
        for repair, count in repaired.items():
            self._metrics.repaired.labels(source=source, repair=repair).inc(count)
        if repaired.total():
            log.info("source repaired", source=source, **repaired)


@dataclass(frozen=True, slots=True)
class AttentiveIntake:
    """Intake for webhooks: a delivery from which alerts were left out has its source polled at once."""

    intake: Intake
    reconciler: Reconciler

    def admit(self, source: SourceName, size: int) -> AbstractContextManager[Hold]:
        return self.intake.admit(source, size)

    def accept(self, delivery: Delivery) -> Awaitable[Accepted]:
        accepted = self.intake.accept(delivery)
        return self._then_poll(accepted, delivery.source) if delivery.truncated else accepted

    async def _then_poll(self, accepted: Awaitable[Accepted], source: SourceName) -> Accepted:
        answer = await accepted
        self.reconciler.poll_soon(source)
        return answer

    async def quarantine(self, source: SourceName, body: bytes, reason: str) -> None:
        await self.intake.quarantine(source, body, reason)


def _report(peer: Alertmanager, answer: _Heard) -> PeerReport:
    if not isinstance(answer, Answer):
        return PeerReport(peer.url, peer.kind, error=str(answer))
    ours = [seen for seen in answer.view.sightings.values() if seen.routed_to_us]
    suppressed = sum(bool(seen.suppressed_by) for seen in ours)
    firing = len(ours) - suppressed
    return PeerReport(peer.url, peer.kind, firing=firing, suppressed=suppressed, caveat=answer.caveat)


def _notifiable(answers: Sequence[_Heard]) -> Mapping[Fingerprint, ListedAlert]:
    """Each as the peer lists it that knows of its latest start."""
    found: dict[Fingerprint, ListedAlert] = {}
    latest: dict[Fingerprint, datetime] = {}
    for answer in answers:
        if not isinstance(answer, Answer):
            continue
        for alert in answer.listing.alerts:
            fingerprint = Fingerprint(alert.fingerprint)
            starts_at = answer.view.starts.get(fingerprint)
            if starts_at is not None and starts_at >= latest.get(fingerprint, starts_at):
                found[fingerprint], latest[fingerprint] = alert, starts_at
    return found


def _as_told(alerts: Sequence[ListedAlert], polled: Polled) -> Delivery:
    """Read by the source's own reader, as if its webhook had told them. What that cannot read is left out here: it
    would be put aside anew with every poll."""
    told = [_webhook_alert(alert, polled.kind) for alert in alerts]
    body = msgspec.json.encode({"version": _WEBHOOK_VERSIONS[polled.kind], "alerts": told})
    reader: Source = plugins_of(Source)[polled.kind]()
    delivery = reader.parse(body, {}, polled.source)
    if delivery.rejected:
        reasons = sorted({each.reason for each in delivery.rejected})
        log.warning("listed alerts not read", source=polled.source, alerts=len(delivery.rejected), reasons=reasons[:5])
    return msgspec.structs.replace(delivery, body=b"", rejected=())


def _webhook_alert(alert: ListedAlert, kind: PeerKind) -> dict[str, object]:
    told: dict[str, object] = {
        "status": AlertStatus.FIRING,
        "labels": alert.labels,
        "annotations": alert.annotations,
        "startsAt": alert.starts_at,
        "generatorURL": alert.generator_url,
        "fingerprint": alert.fingerprint,
    }
    return told if kind is PeerKind.ALERTMANAGER else told | _as_grafana_tells(alert)


def _as_grafana_tells(alert: ListedAlert) -> dict[str, object]:
    """Grafana's webhook leaves out labels and annotations of the form __x__, and unpacks one of them: the values."""
    try:
        labels = msgspec.json.decode(alert.labels, type=dict[str, str])
        annotations = msgspec.json.decode(alert.annotations, type=dict[str, str])
        values = msgspec.json.decode(annotations.get("__values__", "{}"), type=dict[str, float | None])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return {"labels": _public(labels), "annotations": _public(annotations), "values": values}


def _public(texts: Mapping[str, str]) -> dict[str, str]:
    return {n: text for n, text in texts.items() if not (n.startswith(_PRIVATE) and n.endswith(_PRIVATE))}


def _ended(alert: Alert, kind: PeerKind, at: datetime) -> Alert:
    """For Alertmanager absence is all that a resolve ever means: its senders stopped sending. In Grafana an alert is
    also absent when its data, its rule or its evaluation is gone, and only the webhook's reason would tell: that is no
    proof of health, and a person looks. `at` is when the first poll that missed it began: an alert that fires anew
    since is another one, also by a clock that is some seconds behind. By one that is ahead it may have begun later;
    nobody has told it since, so it is the one that is gone."""
    recovered, over = kind is PeerKind.ALERTMANAGER, max(at, alert.starts_at)
    return msgspec.structs.replace(alert, status=AlertStatus.RESOLVED, ends_at=over, recovered=recovered)


def _parts(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), ALERTS_A_DELIVERY):
        yield items[start : start + ALERTS_A_DELIVERY]
