"""Claims incidents that are due, walks each through the pipeline, and commits every move under its fence.

Nothing waits in memory: a move that waits releases its lease, and whichever replica comes by when it is due goes on.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, partial
from typing import assert_never

import structlog
from msgspec.structs import replace

from remediator.domain.errors import BudgetSpent, NotAllowed, Outdated, RemediatorError, StaleFence, Temporary
from remediator.domain.incident import WRITE_FOLLOWS, Incident, Move, PageOrder, Phase
from remediator.engine import close, guard, undo
from remediator.engine.announce import announce_ends
from remediator.engine.bell import Bell
from remediator.engine.clock import DatabaseClock, stopwatch
from remediator.engine.desk import Desk
from remediator.engine.execution import cannot_tell
from remediator.engine.group_commit import GroupCommit
from remediator.engine.late_results import LateResults
from remediator.engine.left_behind import left_behind, tell_of
from remediator.engine.logbook import tell_of_claim, tell_of_move
from remediator.engine.pages import PageWriter
from remediator.engine.pipeline import next_move
from remediator.marks import Mark, reached
from remediator.metrics import Metrics
from remediator.rules.rulebook import Rulebook
from remediator.rules.timeouts import SHARE_OF_LEASE
from remediator.store import incidents, ledger, moves
from remediator.store.database import Connection, Database, despite_others
from remediator.store.moves import Decided, Refusal

log = structlog.get_logger()

REFUSED_FOR = timedelta(seconds=30)
"""Before asking again after the kill switch, a lost alert or a short lease refused a write."""

CLAIMS_APART = timedelta(milliseconds=25)
"""While most slots are taken: long enough for several to come free, and nothing beside the wait for a slot."""
STOP_WITHIN = timedelta(seconds=20)
"""For the moves being made when the daemon stops; below Kubernetes' 30 s of grace."""
_A_WRITE_IS_OPEN = (*WRITE_FOLLOWS, Phase.CLOSED)
"""What became of the intent is still to be told, also where a person closed the incident under it."""


@dataclass(frozen=True, slots=True)
class Pace:
    owner: str
    """Names this replica in the leases."""
    slots: int
    lease: timedelta
    poll: timedelta


class Worker:
    def __init__(
        self,
        database: Database,
        rulebook: Callable[[], Rulebook],
        desk: Desk,
        writer: PageWriter,
        *,
        pace: Pace,
        clock: DatabaseClock,
        bells: tuple[Bell, Bell],
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._rulebook = rulebook
        self._desk = desk
        self._writer = writer
        self._pace = pace
        self._clock = clock
        self._bell, self._page_bell = bells
        self._moves_to = cache(metrics.moves.labels)
        self._moves: GroupCommit[Decided, Incident | Refusal] = GroupCommit(self._write)
        self._in_hand: set[asyncio.Task[None]] = set()
        self._sitting_out: set[asyncio.Future[None]] = set()
        self._stopping = False

    async def run(self) -> None:
        """Until cancelled; then the moves being made are finished, and their incidents given back."""
        try:
            while True:
                for incident in await self._claim():
                    task = asyncio.create_task(self._work_on(incident))
                    self._in_hand.add(task)
                    task.add_done_callback(self._put_away)
                await self._bell.wait(self._pace.poll)
                if self._is_crowded():
                    await asyncio.sleep(CLAIMS_APART.total_seconds())
        finally:
            self._stopping = True
            await self._put_down()

    def _is_crowded(self) -> bool:
        """More is finished than begun, most likely: one claim then fills several slots."""
        return len(self._in_hand) > self._pace.slots * 3 // 4

    async def _put_down(self) -> None:
        for waiting in self._sitting_out:
            waiting.cancel()
        if not self._in_hand:
            return
        _, late = await asyncio.wait(self._in_hand, timeout=STOP_WITHIN.total_seconds())
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _claim(self) -> list[Incident]:
        room = self._pace.slots - len(self._in_hand)
        if room <= 0:
            return []
        try:
            async with self._database.connection() as connection:
                asked_at = stopwatch()
                claimed = await incidents.claim(connection, owner=self._pace.owner, lease=self._pace.lease, limit=room)
                self._clock.follow(await self._now(connection, claimed), asked_at=asked_at)
                return claimed
        except Temporary as error:
            await self._database.health.sit_out("claim incidents", error)
            return []

    async def _now(self, connection: Connection, claimed: Sequence[Incident]) -> datetime:
        """By the database's clock; a claim has told it."""
        ends = claimed[0].lease_until if claimed else None
        return ends - self._pace.lease if ends is not None else await ledger.now(connection)

    async def _work_on(self, incident: Incident) -> None:
        target = incident.target.key if incident.target is not None else None
        with structlog.contextvars.bound_contextvars(incident=incident.id, rule=incident.rule, target=target):
            try:
                tell_of_claim(incident)
                await self._walk(incident)
            except Exception as error:  # our own bug; the lease runs out, somebody tries again, and pages go on
                log.exception("move not committed", error=str(error))

    def _put_away(self, task: asyncio.Task[None]) -> None:
        self._in_hand.discard(task)
        self._bell.ring()

    async def _walk(self, incident: Incident) -> None:
        """Move after move while there is something to do at once."""
        try:
            reached(Mark.INCIDENT_CLAIMED)
            while True:
                move = await self._decide(incident)
                reached(Mark.MOVE_DECIDED)
                before = incident
                incident, move = await self._commit_somehow(before, move)
                reached(Mark.MOVE_COMMITTED)
                tell_of_move(before, move, incident)
                self._moves_to(move.phase.value).inc()
                if move.pages is PageOrder.NOW:
                    self._page_bell.ring()
                if not move.goes_on:
                    return
                # A stop before its write would leave it unmade, to be looked for by the next owner.
                if self._stopping and move.phase not in WRITE_FOLLOWS:
                    await self._give_back(incident)
                    return
        except Outdated as error:
            log.info("to be decided again", reason=str(error))
            await self._give_back(incident)
        except StaleFence as error:
            log.warning("lease lost", error=str(error))
        except Temporary as error:
            log.warning("move not committed", error=str(error))
            await self._give_back_once_well(incident, error)

    async def _give_back_once_well(self, incident: Incident, error: Temporary) -> None:
        """What was done and could not be written is looked for by whoever comes next, as after a crash. Only where the
        database itself may be to blame: a move that fails for another reason is not to be tried again at once."""
        health = self._database.health
        until = time.monotonic() + self._pace.lease.total_seconds()
        while (health.doubt or not health.is_well) and time.monotonic() < until and not self._stopping:
            await self._sit_out(error)
            try:
                await self._give_back(incident)
            except Temporary as again:
                error = again
            else:
                return

    async def _sit_out(self, error: Temporary) -> None:
        waiting = asyncio.ensure_future(self._database.health.sit_out("go on with an incident", error))
        self._sitting_out.add(waiting)
        try:
            await waiting
        finally:
            self._sitting_out.discard(waiting)

    async def _give_back(self, incident: Incident) -> None:
        """Whoever comes by goes on at once, not when the lease has run out."""
        async with self._database.transaction() as tx:
            await incidents.release(tx, incident)

    async def _decide(self, incident: Incident) -> Move:
        try:
            async with asyncio.timeout(self._time_for(incident)):
                return await next_move(incident, self._desk)
        except (StaleFence, Temporary):
            raise
        except TimeoutError:
            log.warning("stage given up, the lease would run out", phase=incident.phase.value)
            reason = "nothing decided while the lease lasts: a look takes too long"
        except Exception as error:  # a bug must end in a page, not in silence
            log.exception("stage failed", phase=incident.phase.value)
            reason = f"{type(error).__name__}: {error}"
        return self._given_up(undo.put_off(incident, self._desk, because=reason), f"{incident.phase.value}: {reason}")

    def _given_up(self, incident: Incident, reason: str) -> Move:
        """To people; also what may have been written, for nobody looks for it any more."""
        write = incident.progress.intent
        if write is None or incident.phase not in _A_WRITE_IS_OPEN:
            return close.handed_over(incident, self._desk, reason)
        unsure = replace(incident, progress=replace(incident.progress, unsure_of=write))
        return replace(close.handed_over(unsure, self._desk, reason), result=cannot_tell(write, because=reason))

    def _time_for(self, incident: Incident) -> float | None:
        """In seconds: whoever takes longer than the lease is overtaken by the next claim, as that one is, for ever.
        None for a write: it has bounds of its own, and what became of it is known at its end alone."""
        if incident.phase in WRITE_FOLLOWS or incident.lease_until is None:
            return None
        return (incident.lease_until - self._clock()).total_seconds() * SHARE_OF_LEASE

    async def _commit_somehow(self, incident: Incident, move: Move) -> tuple[Incident, Move]:
        try:
            return await self._commit(incident, move)
        except RemediatorError:
            raise
        except Exception as error:  # a plug-in's fact that is no JSON, say: the next claim would come no further
            log.exception("move cannot be stored", phase=move.phase.value)
            return await self._commit(incident, self._instead_of(move, incident, error))

    def _instead_of(self, move: Move, incident: Incident, error: Exception) -> Move:
        """A person has it. What a write did, and what is still to be taken back, is told all the same."""
        owed = replace(incident, progress=replace(incident.progress, undo=move.progress.undo))
        reason = f"{move.phase.value}: it cannot be stored: {type(error).__name__}: {error}"
        instead = close.handed_over(undo.put_off(owed, self._desk, because=reason), self._desk, reason)
        return replace(instead, result=move.result)

    async def _commit(self, incident: Incident, move: Move) -> tuple[Incident, Move]:
        """The incident afterwards, and the move that was made: another one where the journal refused this one."""
        after = await self._moves.submit(Decided(incident, move))
        match after:
            case Incident():
                return after, move
            case BudgetSpent():
                wait = timedelta(seconds=max(after.free_in_seconds, 1))
                return await self._commit(incident, self._refused(incident, move, after, wait=wait))
            case NotAllowed():
                return await self._commit(incident, self._refused(incident, move, after, wait=REFUSED_FOR))
            case StaleFence() | Outdated():
                await self._keep_result(incident, move)
                raise after
            case never:
                assert_never(never)

    def _refused(self, incident: Incident, move: Move, error: RemediatorError, *, wait: timedelta) -> Move:
        """The transaction that journals an intent judges once more; its no is final for now."""
        if move.phase is Phase.UNDOING:
            return undo.postponed(incident, str(error), wait=wait)
        return guard.hold(incident, self._desk, str(error), wait=wait, entries=())

    async def _write(self, decided: Sequence[Decided]) -> list[Incident | Refusal]:
        """Tried again on a deadlock: else every incident of the batch waits for its lease to run out."""
        return await despite_others(partial(self._write_once, decided))

    async def _write_once(self, decided: Sequence[Decided]) -> list[Incident | Refusal]:
        async with self._database.transaction() as tx:
            after = await moves.commit(tx, decided, lease=self._pace.lease)
            made = [(one, now) for one, now in zip(decided, after, strict=True) if isinstance(now, Incident)]
            ended = [now for one, now in made if one.incident.is_open and not now.is_open]
            await announce_ends(tx, ended, self._writer)
            await self._tell_what_is_left_behind(tx, made)
            await self._late_results().compare(tx, [one for one, _ in made])
            reached(Mark.MOVE_WRITTEN)
        return after

    async def _tell_what_is_left_behind(self, tx: Connection, made: Sequence[tuple[Decided, Incident]]) -> None:
        for one, after in made:
            write = left_behind(one.incident, one.move, after=after)
            if write is not None:
                await tell_of(tx, write, one, after=after, roster=self._rulebook().roster, writer=self._writer)

    async def _keep_result(self, incident: Incident, move: Move) -> None:
        """The move is not made (a person resolved the incident, say), but what our write did is still a fact."""
        if move.result is not None:
            async with self._database.transaction() as tx:
                await self._late_results().keep(tx, incident, move, move.result)

    def _late_results(self) -> LateResults:
        return LateResults(self._rulebook().roster, self._writer)
