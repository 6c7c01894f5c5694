"""From a parsed delivery to committed rows, many deliveries a transaction (group commit).

The handlers wait for the writers; one takes what waits, files it together, and tells each handler.
2xx therefore means committed. Nothing here waits for a fix, and nobody waits for a dead database for more than 2 s.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache

import msgspec
import structlog

from remediator.domain.alert import Accepted, Alert, Delivery, Rejected
from remediator.domain.errors import Overloaded, Temporary
from remediator.domain.filing import Familiar
from remediator.domain.ids import SourceName
from remediator.domain.mode import Mode
from remediator.engine.bell import Bell
from remediator.engine.fair_queue import FairQueue, Part, Waiting
from remediator.engine.room import Hold, Room
from remediator.marks import Mark, reached
from remediator.metrics import Metrics
from remediator.rules.rulebook import Rulebook
from remediator.store import bodies, filing
from remediator.store.database import Database, passes, was_locked_out
from remediator.store.filing import FilingResult
from remediator.toolbox import system_clock

log = structlog.get_logger()

A_CROWD = 100
"""Alerts that wait: then a second writer helps, which decides while PostgreSQL works for the first. With fewer, more to
a commit is worth more than a second commit."""
SHARES = 4
"""Into which a crowd is cut that no incident hears of: taken all at once, nobody is left who could send the next ones
while PostgreSQL works. Batches with incidents are large: two of them would wait for each other's."""
MOST_BYTES = 64 << 20
"""Of bodies in memory at once; with what is read from them, some five times that."""
PATIENCE = timedelta(milliseconds=1500)
"""With the database, on behalf of those who wait: a 503, which a sender repeats, within two seconds (facts: engine)."""
MOST_BEHIND = timedelta(seconds=5)
"""How long the oldest may have waited before newcomers are refused: senders give up after ten seconds."""
RETRY_EVERY = timedelta(milliseconds=100)
"""While there is patience: a connection that was reset or a deadlock is gone at the next try."""


class Intake:
    def __init__(
        self,
        database: Database,
        rulebook: Callable[[], Rulebook],
        *,
        ceiling: Mode,
        metrics: Metrics,
        bells: tuple[Bell, Bell, Bell],
    ) -> None:
        """`bells`: of who works on incidents, who pages, and who looks for ends that have crossed their starts."""
        self._database = database
        self._familiar = Familiar()
        self._rulebook = rulebook
        self._ceiling = ceiling
        self._metrics = metrics
        self._work_bell, self._page_bell, self._ends_bell = bells
        self._lag = cache(metrics.source_lag.labels)
        self._room = Room(MOST_BYTES)
        self._queue = FairQueue()
        self._arrived, self._crowded = asyncio.Event(), asyncio.Event()
        self._is_quiet = True
        """No incident heard of the last batch."""
        self._refusing = ""
        """Why nothing is taken now; empty: it is."""
        self._in_vain: set[int] = set()
        """Batches that a writer is at for longer than there is patience, by their ids. The other serves who comes."""

    def admit(self, source: SourceName, size: int) -> contextlib.AbstractContextManager[Hold]:
        """For a body of `size` bytes, before it is read and until it is answered. Raises `Overloaded`: 503."""
        self._demand_openness()
        oldest = self._queue.oldest
        if oldest is not None and asyncio.get_running_loop().time() - oldest > MOST_BEHIND.total_seconds():
            raise Overloaded(f"more than {MOST_BEHIND.total_seconds():.0f} s behind")
        return self._room.hold(source, size)

    def accept(self, delivery: Delivery) -> Awaitable[Accepted]:
        """Done after the commit. Raises `Overloaded` or `Temporary`: nothing is stored, 503 is the answer."""
        self._demand_openness()
        reached(Mark.DELIVERY_READ)
        loop = asyncio.get_running_loop()
        waiting = Waiting(delivery, loop.create_future(), loop.time())
        self._queue.put(waiting)
        self._arrived.set()
        if self._queue.alerts >= A_CROWD or self._in_vain:
            self._crowded.set()
        return waiting.answer

    async def quarantine(self, source: SourceName, body: bytes, reason: str) -> None:
        """Keeps a body that could not be read at all, so that a person can see what was sent."""
        rejected = Rejected(position=-1, reason=reason, raw=body)
        await self.accept(Delivery(source=source, body=b"", alerts=(), rejected=(rejected,)))

    def _demand_openness(self) -> None:
        if self._refusing:
            raise Overloaded(self._refusing)

    async def run(self) -> None:
        """The writers. Until cancelled."""
        async with asyncio.TaskGroup() as writers:
            writers.create_task(self._write(self._arrived))
            writers.create_task(self._write(self._crowded))

    async def _write(self, wanted: asyncio.Event) -> None:
        while True:
            await wanted.wait()
            parts = self._queue.take(among=SHARES if self._is_quiet else 1)
            if not self._queue:
                self._arrived.clear()
            if self._queue.alerts < A_CROWD and not (self._queue and self._in_vain):
                self._crowded.clear()
            if parts:
                await self._store(parts)

    async def _store(self, parts: Sequence[Part]) -> None:
        """Files and answers them; where the database has no answer in time, everybody is told and nobody taken until
        it has. What was under way then may still be stored: its sender repeats it, and it is the same episode."""
        started = time.monotonic()
        overdue = asyncio.get_running_loop().call_later(
            PATIENCE.total_seconds(), self._give_up_on, parts, "the database does not answer"
        )
        try:
            error = await self._commit(parts, until=started + PATIENCE.total_seconds())
        finally:
            overdue.cancel()
            self._in_vain.discard(id(parts))
        self._metrics.intake_seconds.observe(time.monotonic() - started)
        if isinstance(error, Temporary):
            await self._sit_out(parts, error)
        elif error is not None:
            await self._part_from_neighbours(parts, error)
        self._refusing = ""

    async def _commit(self, parts: Sequence[Part], *, until: float) -> Exception | None:
        """Answers those whose last part it was. Gives what went wrong, once there is no sense in trying again."""
        has_stumbled = False
        while True:
            try:
                result = await self._file(parts)
            except Temporary as error:
                if self._refusing or time.monotonic() >= until or was_locked_out(error):
                    return error
            except Exception as error:  # a bug, in a rule or in us: its alert is looked for, its neighbours are stored
                if has_stumbled:
                    return error
                has_stumbled = True  # once may be chance: while an index is built anew, PostgreSQL sees doubles in vain
                continue
            else:
                reached(Mark.DELIVERY_COMMITTED)
                _answer(parts)
                self._ring(result)
                return None
            await asyncio.sleep(RETRY_EVERY.total_seconds())

    def _ring(self, result: FilingResult) -> None:
        if result.incidents:
            self._work_bell.ring()
        if result.opened:
            self._page_bell.ring()
        if result.ends_of_nothing:
            self._ends_bell.ring()

    async def _file(self, parts: Sequence[Part]) -> FilingResult:
        received_at = system_clock()
        rulebook = self._rulebook()
        alerts = [alert for part in parts for alert in part.alerts]
        deliveries = [part.waiting.delivery for part in parts if part.is_first]
        try:
            async with self._database.connection() as connection:
                result = await filing.file(
                    connection,
                    deliveries,
                    alerts,
                    lambda alert: rulebook.opening(alert, ceiling=self._ceiling),
                    self._familiar,
                )
        finally:
            if not deliveries:  # their bodies are kept, and not once more where the rest is tried again
                for part in parts:
                    part.is_first = False
        self._is_quiet = not result.incidents
        for outcome, count in result.filings.items():
            self._metrics.alerts.labels(filing=outcome.value).inc(count)
        for source, started in _earliest_starts(result.new).items():
            self._lag(source).observe(max((received_at - started).total_seconds(), 0))  # its clock may be ahead
        return result

    async def _part_from_neighbours(self, parts: Sequence[Part], error: Exception) -> None:
        """Halves the batch until the one alert that cannot be stored stands alone, and puts that one aside."""
        if len(parts) > 1:
            await self._store(parts[: len(parts) // 2])
            await self._store(parts[len(parts) // 2 :])
        elif len(parts[0].alerts) > 1:
            for half in parts[0].halves():
                await self._store([half])
        else:
            await self._put_aside(parts[0], error)

    async def _put_aside(self, part: Part, error: Exception) -> None:
        log.error("alert put aside, it could not be stored", exc_info=error)
        sent = part.waiting.delivery
        raw = msgspec.json.encode(part.alerts)
        rejected = Rejected(part.begins_at, f"{type(error).__name__}: {error}", raw)
        body = sent.body if part.is_first else b""  # else it is kept with what went before
        try:
            async with self._database.transaction() as tx:
                await bodies.keep(tx, [Delivery(sent.source, body, (), (rejected,))])
        except Temporary as failed:
            await self._sit_out([part], failed)
            return
        except Exception as failed:  # a bug here too: its sender is told, and everybody else is served
            log.error("alert not even put aside", exc_info=failed)
            _tell([part.waiting], Overloaded(f"neither stored nor put aside: {type(failed).__name__}: {failed}"))
            return
        self._metrics.alerts.labels(filing="put_aside").inc()
        _answer([part])

    async def _sit_out(self, parts: Sequence[Part], error: Temporary) -> None:
        if passes(error):  # somebody is in the way of these, and of nobody else
            _tell((part.waiting for part in parts), Overloaded(f"{error}; send it again"))
            return
        self._give_up_on(parts, str(error))
        try:
            await self._database.health.sit_out("store alerts", error)
        finally:
            self._in_vain.discard(id(parts))

    def _give_up_on(self, parts: Sequence[Part], why: str) -> None:
        """Its senders are told, and whoever comes until a writer is free."""
        self._in_vain.add(id(parts))
        self._refusing = f"{why}; nothing is stored until the database is well"
        _tell((*(part.waiting for part in parts), *self._queue.empty()), Overloaded(self._refusing))


def _earliest_starts(alerts: Iterable[Alert]) -> dict[SourceName, datetime]:
    starts: dict[SourceName, datetime] = {}
    for alert in alerts:
        if alert.starts_at < starts.setdefault(alert.source, alert.starts_at):
            starts[alert.source] = alert.starts_at
    return starts


def _tell(those: Iterable[Waiting], why: Overloaded) -> None:
    for waiting in those:
        if not waiting.answer.done():
            waiting.answer.set_exception(why)


def _answer(parts: Iterable[Part]) -> None:
    """Those of whom nothing is left to be stored."""
    for part in parts:
        waiting, delivery = part.waiting, part.waiting.delivery
        waiting.stored += len(part.alerts)
        if waiting.is_stored and not waiting.answer.done():
            waiting.answer.set_result(Accepted(len(delivery.alerts), len(delivery.rejected), delivery.truncated))
