"""Clears up: makes partitions ahead of the clock, drops those past their time, deletes the rest in small batches.

Runs in every replica; a row in the database says whose round it is, so there is no leader. It never holds a lock for
long, never dies with the database, and never touches what is open.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import structlog

from remediator.domain.errors import RemediatorError
from remediator.domain.partition import Partition, missing_ahead, past, spans_left
from remediator.engine.rules_in_force import remember
from remediator.metrics import Metrics
from remediator.rules.rulebook import Rulebook
from remediator.store import ledger, partitions, retention
from remediator.store.database import Connection, Database
from remediator.store.partitions import Outcome, Partitioned
from remediator.store.retention import Batch, Keep, Sweep

log = structlog.get_logger()

LOOK_EVERY = timedelta(minutes=5)
SPANS_AHEAD = 2
ROWS_A_BATCH = 1_000
INCIDENTS_A_BATCH = 200
TRIES_FOR_A_LOCK = 5


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

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_EVERY.total_seconds())

    async def look(self) -> bool:
        """One round, if one is due and no other replica has taken it; whether it was ours and came to its end."""
        try:
            await self._keep_rules()
            ours = await self._begin()
            if ours:
                await self._round()
            await self._measure()
        except RemediatorError as error:
            log.warning("cannot clear up", error=str(error))
            return False
        except Exception as error:  # a table we may not alter, say: alerts and pages must go on
            log.exception("clearing up failed", error=str(error))
            return False
        return ours

    async def _keep_rules(self) -> None:
        await remember(self.rulebook(), self.database)

    async def _begin(self) -> bool:
        async with self.database.transaction() as tx:
            return await retention.begin_round(tx, self.every)

    async def _round(self) -> None:
        self._removed.clear()
        await self._make_partitions()
        if self.keep.raw is not None:
            await self._clear_raw(self.keep.raw)
        if self.keep.diagnostics is not None:
            await self._clear_diagnostics(self.keep.diagnostics)
        await self._sweep(retention.RESERVATIONS, retention.RESERVATIONS_KEPT)
        await self._repeat("budgets", partial(retention.forget_budgets, limit=ROWS_A_BATCH))
        if self.keep.decisions is not None:
            await self._clear_decisions(self.keep.decisions)
        async with self.database.transaction() as tx:
            await retention.end_round(tx)
        log.info("cleared up", removed=dict(self._removed))

    async def _clear_raw(self, age: timedelta) -> None:
        found, now = await self._partitions()
        for kept in (partitions.DELIVERIES, partitions.QUARANTINE):
            for old in past(found[kept.table], now, kept_for=age):
                await self._drop(kept, old)
            for oldest in (p for p in found[kept.table] if p.starts is None):
                await self._sweep(retention.raw_rows(oldest.name), age, counts_as=kept.table)

    async def _clear_diagnostics(self, age: timedelta) -> None:
        await self._repeat("facts of incidents", partial(retention.drop_facts, age=age, limit=INCIDENTS_A_BATCH))
        await self._sweep(retention.OUTBOX, age)

    async def _clear_decisions(self, age: timedelta) -> None:
        await self._walk("incidents", partial(retention.sweep_incidents, age=age, limit=INCIDENTS_A_BATCH))
        await self._sweep(retention.EPISODES, age)
        await self._repeat("rule_versions", partial(retention.forget_rule_versions, age=age, limit=ROWS_A_BATCH))
        found, now = await self._partitions()
        for old in past(found[partitions.TIMELINE.table], now, kept_for=age):
            if not await self._tells_of_an_incident(old):
                await self._drop(partitions.TIMELINE, old)

    async def _make_partitions(self) -> None:
        found, now = await self._partitions()
        for kept in partitions.ALL:
            for span in missing_ahead(kept.period, found[kept.table], now, spans_ahead=SPANS_AHEAD):
                outcome = await self._patiently(partial(partitions.make, kept=kept, span=span))
                if outcome is not Outcome.DONE:
                    log.warning("partition not made", table=kept.table, starts=str(span.starts), why=outcome.value)

    async def _drop(self, kept: Partitioned, old: Partition) -> None:
        outcome = await self._patiently(partial(partitions.drop, partition=old))
        if outcome is Outcome.DONE:
            self.metrics.partitions_dropped.labels(table=kept.table).inc()
            self._removed[old.name] += 1
        else:
            log.info("partition not dropped yet", partition=old.name, why=outcome.value)

    async def _patiently(self, change: Callable[[Connection], Awaitable[Outcome]]) -> Outcome:
        """Asks for the lock a few times; then the next round will."""
        outcome = Outcome.LOCKED
        for _ in range(TRIES_FOR_A_LOCK):
            async with self.database.transaction() as tx:
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
            async with self.database.transaction() as tx:
                await retention.keep_round(tx, self.every)
                batch = await walk(tx, after=batch.last)
            await self._done(table, batch.removed)

    async def _repeat(self, table: str, remove: Callable[[Connection], Awaitable[int]]) -> None:
        """Until nothing more is found."""
        removed = 1
        while removed:
            async with self.database.transaction() as tx:
                await retention.keep_round(tx, self.every)
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
        async with self.database.connection() as connection:
            return await partitions.existing(connection), await ledger.now(connection)

    async def _tells_of_an_incident(self, old: Partition) -> bool:
        async with self.database.connection() as connection:
            return await partitions.is_in_use(connection, old)

    async def _measure(self) -> None:
        found, now = await self._partitions()
        for kept in partitions.ALL:
            ahead = spans_left(kept.period, found[kept.table], now)
            self.metrics.partitions_ahead.labels(table=kept.table).set(ahead)
        async with self.database.connection() as connection:
            ended = await retention.last_round(connection)
        if ended is not None:
            self.metrics.retention_ended.set(ended.timestamp())
