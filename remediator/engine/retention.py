"""Clears up: makes partitions ahead of the clock, drops those past their time, deletes the rest in small batches.

Runs in every replica; a row in the database says whose round it is, so there is no leader. It never holds a lock for
long, never dies with the database, and never touches what is open.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

import structlog

from remediator.domain.errors import Permanent, RemediatorError, Temporary
from remediator.domain.partition import Partition, missing_ahead, past, spans_left
from remediator.engine.rules_in_force import keep_versions
from remediator.metrics import Metrics
from remediator.rules.rulebook import Rulebook
from remediator.store import ledger, partitions, retention, rounds
from remediator.store.database import Connection, Database
from remediator.store.partitions import Outcome, Partitioned
from remediator.store.retention import Batch, Keep, Sweep
from remediator.store.rounds import Failure, LastRound, Why

log = structlog.get_logger()

LOOK_EVERY = timedelta(minutes=5)
SPANS_AHEAD = 2
ROWS_A_BATCH = 1_000
INCIDENTS_A_BATCH = 200
TRIES_FOR_A_LOCK = 5

Done = TypeVar("Done")


class _Walk(Protocol):
    async def __call__(self, tx: Connection, *, after: int) -> Batch: ...


@dataclass(frozen=True, slots=True)
class Retention:
    database: Database
    rulebook: Callable[[], Rulebook]
    keep: Keep
    every: timedelta
    metrics: Metrics
    pause: timedelta = timedelta(milliseconds=100)
    """After each batch: the hot path has the database to itself most of the time."""
    _removed: Counter[str] = field(default_factory=Counter, init=False)
    """In this round."""
    _failures: dict[str, Failure] = field(default_factory=dict, init=False)
    """In this look, by step."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY.total_seconds())

    async def look(self) -> bool:
        """One round, if one is due and no other replica has taken it; whether it was ours and came to its end."""
        self._failures.clear()
        await self._try("rule versions in force", self._keep_rules)
        is_ours = await self._try("begin", self._begin)
        if is_ours:
            await self._round()
        await self._try("count of partitions", self._measure_partitions)
        self._show(await self._try("account of the last round", self._last_round) or LastRound(None, {}))
        return bool(is_ours) and not self._failures

    async def _try(self, step: str, work: Callable[[], Awaitable[Done]]) -> Done | None:
        """Each step stands alone: what one of them may not do, or cannot do now, holds up no other."""
        try:
            return await work()
        except RemediatorError as error:
            why = Why.REFUSED if isinstance(error, Permanent) else Why.PUT_OFF
            log.warning("cannot clear up", step=step, why=why.value, error=str(error))
            self._failures[step] = Failure(why, str(error))
        except Exception as error:  # a bug in one step: the others, alerts and pages must go on
            log.exception("clearing up failed", step=step, error=str(error))
            self._failures[step] = Failure(Why.BUG, f"{type(error).__name__}: {error}")
        return None

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        async with self.database.transaction() as tx:
            with rounds.refusals_told():
                yield tx

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Connection]:
        async with self.database.connection() as connection:
            with rounds.refusals_told():
                yield connection

    async def _keep_rules(self) -> None:
        async with self._transaction() as tx:
            await keep_versions(tx, self.rulebook())

    async def _begin(self) -> bool:
        async with self._transaction() as tx:
            return await rounds.begin(tx, self.every)

    async def _round(self) -> None:
        self._removed.clear()
        for step, work in self._steps():
            await self._try(step, work)
        await self._try("end", self._end)
        log.info("cleared up", removed=dict(self._removed), failed=sorted(self._failures))

    async def _end(self) -> None:
        async with self._transaction() as tx:
            await rounds.end(tx, self._failures)

    def _steps(self) -> Iterator[tuple[str, Callable[[], Awaitable[None]]]]:
        """In this order. The names are shown to people, and are labels of a metric."""
        for kept in partitions.ALL:
            yield f"new partitions of {kept.table}", partial(self._make_partitions, kept)
        if (age := self.keep.raw) is not None:
            for kept in (partitions.DELIVERIES, partitions.QUARANTINE):
                yield f"old partitions of {kept.table}", partial(self._drop_past, kept, age)
                yield f"old rows of {kept.table}", partial(self._sweep_raw, kept, age)
        if (age := self.keep.diagnostics) is not None:
            facts = partial(retention.drop_facts, age=age, limit=INCIDENTS_A_BATCH)
            yield "facts of incidents", partial(self._repeat, "facts of incidents", facts)
            yield "outbox", partial(self._sweep, retention.OUTBOX, age)
        yield "reservations", partial(self._sweep, retention.RESERVATIONS, retention.RESERVATIONS_KEPT)
        yield "budgets", partial(self._repeat, "budgets", partial(retention.forget_budgets, limit=ROWS_A_BATCH))
        if (age := self.keep.decisions) is not None:
            incidents = partial(retention.sweep_incidents, age=age, limit=INCIDENTS_A_BATCH)
            yield "incidents", partial(self._walk, "incidents", incidents)
            yield "episodes", partial(self._sweep, retention.EPISODES, age)
            versions = partial(retention.forget_rule_versions, age=age, limit=ROWS_A_BATCH)
            yield "rule versions", partial(self._repeat, "rule_versions", versions)
            yield "old partitions of timeline", partial(self._drop_past, partitions.TIMELINE, age)

    async def _make_partitions(self, kept: Partitioned) -> None:
        found, now = await self._partitions()
        locked = []
        for span in missing_ahead(kept.period, found[kept.table], now, spans_ahead=SPANS_AHEAD):
            outcome = await self._patiently(partial(partitions.make, kept=kept, span=span))
            if outcome is not Outcome.DONE:
                log.warning("partition not made", table=kept.table, starts=str(span.starts), why=outcome.value)
            if outcome is Outcome.LOCKED:
                locked.append(f"{span.starts:%Y-%m-%d}")
        _demand_none(locked)

    async def _drop_past(self, kept: Partitioned, age: timedelta) -> None:
        found, now = await self._partitions()
        locked = []
        for old in past(found[kept.table], now, kept_for=age):
            if kept is partitions.TIMELINE and await self._tells_of_an_incident(old):
                continue
            if not await self._drop(kept, old):
                locked.append(old.name)
        _demand_none(locked)

    async def _drop(self, kept: Partitioned, old: Partition) -> bool:
        outcome = await self._patiently(partial(partitions.drop, partition=old))
        if outcome is not Outcome.DONE:
            log.info("partition not dropped yet", partition=old.name, why=outcome.value)
            return False
        self.metrics.partitions_dropped.labels(table=kept.table).inc()
        self._removed[old.name] += 1
        return True

    async def _sweep_raw(self, kept: Partitioned, age: timedelta) -> None:
        found, _ = await self._partitions()
        for oldest in (p for p in found[kept.table] if p.starts is None):
            await self._sweep(retention.raw_rows(oldest.name), age, counts_as=kept.table)

    async def _patiently(self, change: Callable[[Connection], Awaitable[Outcome]]) -> Outcome:
        """Asks for the lock a few times; then the next round will."""
        outcome = Outcome.LOCKED
        for _ in range(TRIES_FOR_A_LOCK):
            async with self._transaction() as tx:
                outcome = await change(tx)
            if outcome is not Outcome.LOCKED:
                break
            await self._rest()
        return outcome

    async def _sweep(self, what: Sweep, age: timedelta, *, counts_as: str = "") -> None:
        walk = partial(retention.sweep, what=what, age=age, limit=ROWS_A_BATCH)
        await self._walk(counts_as or what.table, walk)

    async def _walk(self, table: str, walk: _Walk) -> None:
        """From the oldest row on, batch after batch."""
        batch = Batch(removed=0, last=0, is_last=False)
        while not batch.is_last:
            async with self._transaction() as tx:
                await rounds.keep(tx, self.every)
                batch = await walk(tx, after=batch.last)
            await self._done(table, batch.removed)

    async def _repeat(self, table: str, remove: Callable[[Connection], Awaitable[int]]) -> None:
        """Until nothing more is found."""
        removed = 1
        while removed:
            async with self._transaction() as tx:
                await rounds.keep(tx, self.every)
                removed = await remove(tx)
            await self._done(table, removed)

    async def _done(self, table: str, removed: int) -> None:
        if removed:
            self.metrics.retention_removed.labels(table=table).inc(removed)
            self._removed[table] += removed
        await self._rest()

    async def _rest(self) -> None:
        await asyncio.sleep(self.pause.total_seconds())

    async def _partitions(self) -> tuple[Mapping[str, list[Partition]], datetime]:
        async with self._connection() as connection:
            return await partitions.existing(connection), await ledger.now(connection)

    async def _tells_of_an_incident(self, old: Partition) -> bool:
        async with self._connection() as connection:
            return await partitions.is_in_use(connection, old)

    async def _measure_partitions(self) -> None:
        found, now = await self._partitions()
        for kept in partitions.ALL:
            ahead = spans_left(kept.period, found[kept.table], now)
            self.metrics.partitions_ahead.labels(table=kept.table).set(ahead)

    async def _last_round(self) -> LastRound:
        async with self._connection() as connection:
            return await rounds.last(connection)

    def _show(self, last: LastRound) -> None:
        """What failed in the last round, whoever made it, and what failed here beside it."""
        if last.ended is not None:
            self.metrics.retention_ended.set(last.ended.timestamp())
        self.metrics.retention_failing.clear()
        for step, failure in (*last.failures.items(), *self._failures.items()):
            self.metrics.retention_failing.labels(step=step, why=failure.why).set(1)


def _demand_none(locked: Sequence[str]) -> None:
    """A lock is asked for again in the next round, and the round is not done without it."""
    if locked:
        raise Temporary(f"others hold {', '.join(locked)}", system="database", operation="clear up")
