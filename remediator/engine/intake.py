"""From a parsed delivery to committed rows, many deliveries a transaction (group commit).

The handlers wait for the one writer task; it takes everything that waits, files it in one transaction, and tells each
handler. 2xx therefore means committed. Nothing here waits for a fix, and nothing waits for a dead database for long.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import structlog

from remediator.domain.alert import Accepted, Alert, Delivery, Rejected, lag_of
from remediator.domain.errors import Overloaded, RemediatorError, Temporary
from remediator.domain.ids import SourceName
from remediator.domain.mode import Mode
from remediator.domain.opening import Opening
from remediator.engine.bell import Bell
from remediator.marks import Mark, reached
from remediator.metrics import Metrics
from remediator.rules.rulebook import Rulebook
from remediator.store import intake as filing
from remediator.store.database import Database
from remediator.toolbox import system_clock

log = structlog.get_logger()

MOST_ALERTS_A_COMMIT = 20_000
MOST_DELIVERIES_A_COMMIT = 1_000
MOST_WAITING_BYTES = 128 * 1024 * 1024
ANSWER_WITHIN = timedelta(seconds=8)
"""Below Alertmanager's recommended 10 s time-out: a sender that gives up first would send everything twice."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    delivery: Delivery
    answer: asyncio.Future[Accepted]


class Intake:
    def __init__(
        self,
        database: Database,
        rulebook: Callable[[], Rulebook],
        *,
        ceiling: Mode,
        metrics: Metrics,
        bells: Sequence[Bell],
    ) -> None:
        self._database = database
        self._rulebook = rulebook
        self._ceiling = ceiling
        self._metrics = metrics
        self._bells = bells
        self._waiting: deque[_Waiting] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()

    async def accept(self, delivery: Delivery) -> Accepted:
        """Returns after the commit. Raises `Overloaded` or `Temporary`: nothing is stored, 503 is the answer."""
        if self._waiting and self._waiting_bytes + len(delivery.body) > MOST_WAITING_BYTES:
            raise Overloaded(f"{self._waiting_bytes >> 20} MiB of alerts wait for the database already")
        reached(Mark.DELIVERY_READ)
        waiting = _Waiting(delivery, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._waiting_bytes += len(delivery.body)
        self._arrived.set()
        try:
            async with asyncio.timeout(ANSWER_WITHIN.total_seconds()):
                return await waiting.answer
        except TimeoutError:
            raise Overloaded(f"not stored within {ANSWER_WITHIN.total_seconds():.0f} s") from None

    async def quarantine(self, source: SourceName, body: bytes, reason: str) -> None:
        """Keeps a body that could not be read at all, so that a person can see what was sent."""
        rejected = Rejected(position=-1, reason=reason, raw=body)
        await self.accept(Delivery(source=source, body=b"", alerts=(), rejected=(rejected,)))

    async def run(self) -> None:
        """The writer. Runs until cancelled."""
        while True:
            await self._arrived.wait()
            batch = self._take_batch()
            if batch:
                await self._commit(batch)
            if not self._waiting:
                self._arrived.clear()

    def _take_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        alerts = 0
        while self._waiting and len(batch) < MOST_DELIVERIES_A_COMMIT and alerts < MOST_ALERTS_A_COMMIT:
            waiting = self._waiting.popleft()
            self._waiting_bytes -= len(waiting.delivery.body)
            if not waiting.answer.done():
                batch.append(waiting)
                alerts += len(waiting.delivery.alerts)
        return batch

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        started = time.monotonic()
        try:
            await self._file([waiting.delivery for waiting in batch])
        except Temporary as error:
            _answer_all(batch, error)
        except Exception as error:  # one poisonous delivery must not cost its neighbours their place
            await self._part_from_neighbours(batch, error)
        else:
            reached(Mark.DELIVERY_COMMITTED)
            self._metrics.intake_seconds.observe(time.monotonic() - started)
            for waiting in batch:
                _answer(waiting, _accepted(waiting.delivery))
            for bell in self._bells:
                bell.ring()

    async def _part_from_neighbours(self, batch: Sequence[_Waiting], error: Exception) -> None:
        log.exception("deliveries not stored", deliveries=len(batch), error=str(error))
        if len(batch) == 1:
            _answer_all(batch, error)
            return
        for waiting in batch:
            await self._commit([waiting])

    async def _file(self, deliveries: Sequence[Delivery]) -> None:
        rulebook = self._rulebook()
        async with self._database.transaction() as tx:
            result = await filing.file_deliveries(tx, deliveries, lambda alert: self._opening(rulebook, alert))
            reached(Mark.DELIVERY_FILED)
        for outcome, count in result.filings.items():
            self._metrics.alerts.labels(filing=outcome.value).inc(count)

    def _opening(self, rulebook: Rulebook, alert: Alert) -> Opening | None:
        self._metrics.source_lag.labels(source=alert.source).observe(lag_of(alert, received_at=system_clock()))
        return rulebook.opening(alert, ceiling=self._ceiling)


def _accepted(delivery: Delivery) -> Accepted:
    return Accepted(stored=len(delivery.alerts), rejected=len(delivery.rejected), truncated=delivery.truncated)


def _answer(waiting: _Waiting, accepted: Accepted) -> None:
    if not waiting.answer.done():
        waiting.answer.set_result(accepted)


def _answer_all(batch: Sequence[_Waiting], error: Exception) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(error if isinstance(error, RemediatorError) else Overloaded("not stored"))
