"""Carries the outbox to people. Retries what may work later, falls through to the next channel where it will not,
and pages every channel there is when a person's last channel has failed. A second page is better than none."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial

import structlog

from remediator.domain.errors import RemediatorError, Temporary
from remediator.domain.notification import Receipt
from remediator.domain.oncall import Contact
from remediator.domain.timeline import Entry, EntryKind
from remediator.engine.bell import Bell
from remediator.engine.group_commit import GroupCommit
from remediator.marks import Mark, reached
from remediator.metrics import Metrics
from remediator.rules.rulebook import Rulebook
from remediator.store import outbox, timeline
from remediator.store.database import Connection, Database
from remediator.store.outbox import OutboxItem
from remediator.toolbox import Messengers

log = structlog.get_logger()

Outcome = Callable[[Connection], Awaitable[None]]
"""Writes down what became of one message."""

LEASE = timedelta(seconds=30)
MOST_IN_FLIGHT = 100
MOST_A_CHANNEL = 40
"""Of those: a channel that hangs must leave room for the others."""
TRIES_PER_CHANNEL = 3
FIRST_RETRY = timedelta(seconds=5)
LONGEST_WAIT = timedelta(seconds=30)
"""A channel that wants a longer pause is passed over: the next channel is quicker."""


class Courier:
    def __init__(
        self,
        database: Database,
        rulebook: Callable[[], Rulebook],
        messengers: Messengers,
        *,
        bell: Bell,
        poll: timedelta,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._rulebook = rulebook
        self._messengers = messengers
        self._bell = bell
        self._poll = poll
        self._metrics = metrics
        self._in_flight: Counter[str] = Counter()
        """Channel -> messages on their way."""
        self._records: GroupCommit[Outcome, None] = GroupCommit(self._write)

    async def run(self) -> None:
        """Until cancelled. A slow channel holds up its own messages only."""
        async with asyncio.TaskGroup() as group:
            while True:
                items = await self._claim()
                for item in items:
                    self._in_flight[item.reach[0].channel] += 1
                    group.create_task(self._carry(item)).add_done_callback(partial(self._landed, item))
                if not items:
                    await self._bell.wait(self._poll)

    async def deliver(self) -> int:
        """Sends whatever is due now and waits for it; returns how many."""
        items = await self._claim()
        async with asyncio.TaskGroup() as group:
            for item in items:
                group.create_task(self._carry(item))
        return len(items)

    def _landed(self, item: OutboxItem, task: asyncio.Task[None]) -> None:
        self._in_flight[item.reach[0].channel] -= 1
        self._bell.ring()

    async def _claim(self) -> Sequence[OutboxItem]:
        room = MOST_IN_FLIGHT - self._in_flight.total()
        if room <= 0:
            return ()
        full = [channel for channel, count in self._in_flight.items() if count >= MOST_A_CHANNEL]
        try:
            async with self._database.transaction() as tx:
                return await outbox.claim(tx, lease=LEASE, limit=min(room, MOST_A_CHANNEL), passing_over=full)
        except Temporary as error:
            await self._database.health.sit_out("read the outbox", error)
            return ()

    async def _carry(self, item: OutboxItem) -> None:
        contact = item.reach[0]
        reached(Mark.PAGE_CLAIMED)
        try:
            receipt = await self._send(item, contact)
        except Temporary as error:
            outcome = partial(self._try_again, item=item, contact=contact, error=error)
        except Exception as error:  # whatever is wrong with this channel, the next one may be right
            if not isinstance(error, (RemediatorError, TimeoutError)):
                log.exception("notifier failed", channel=contact.channel)
            outcome = partial(self._fall_through, item=item, contact=contact, error=error)
        else:
            outcome = partial(self._sent, item=item, contact=contact, receipt=receipt)
        reached(Mark.PAGE_SENT)
        await self._record(contact, outcome)
        reached(Mark.PAGE_RECORDED)

    async def _send(self, item: OutboxItem, contact: Contact) -> Receipt:
        notifier = self._rulebook().notifier(contact.channel)
        async with asyncio.timeout(notifier.timeout.total_seconds() + 1):
            return await notifier.send(item.notification_for(contact), self._messengers)

    async def _record(self, contact: Contact, outcome: Outcome) -> None:
        try:
            await self._records.submit(outcome)
        except RemediatorError as error:
            log.warning("delivery not recorded, it may be sent twice", channel=contact.channel, error=str(error))

    async def _write(self, outcomes: Sequence[Outcome]) -> list[None]:
        async with self._database.transaction() as tx:
            for outcome in outcomes:
                await outcome(tx)
        return [None] * len(outcomes)

    async def _sent(self, tx: Connection, *, item: OutboxItem, contact: Contact, receipt: Receipt) -> None:
        self._metrics.pages.labels(channel=contact.channel, result="sent").inc()
        await outbox.sent(tx, item, receipt)
        await self._tell(tx, item, f"{item.kind} sent to {item.recipient} by {contact.channel}")

    async def _try_again(self, tx: Connection, *, item: OutboxItem, contact: Contact, error: Temporary) -> None:
        wait = _pause(item.attempts, error)
        if item.attempts + 1 >= TRIES_PER_CHANNEL or wait > LONGEST_WAIT:
            await self._fall_through(tx, item=item, contact=contact, error=error)
            return
        self._metrics.pages.labels(channel=contact.channel, result="retried").inc()
        await outbox.retry(tx, item, delay=wait, error=str(error))

    async def _fall_through(self, tx: Connection, *, item: OutboxItem, contact: Contact, error: Exception) -> None:
        self._metrics.pages.labels(channel=contact.channel, result="failed").inc()
        await outbox.next_contact(tx, item, error=str(error))
        following = item.reach[1].channel if len(item.reach) > 1 else "no channel left"
        await self._tell(tx, item, f"{contact.channel} did not reach {item.recipient}: {error}; next: {following}")
        if len(item.reach) == 1:
            await self._last_resort(tx, item)

    async def _last_resort(self, tx: Connection, item: OutboxItem) -> None:
        """Every other channel, once. Its own failure is told, and ends here."""
        if item.is_last_resort:
            return
        reach = tuple(Contact(name, "") for name in sorted(self._rulebook().roster.channels))
        await outbox.enqueue_last_resort(tx, item, reach)

    async def _tell(self, tx: Connection, item: OutboxItem, message: str) -> None:
        await timeline.append(tx, [(item.incident, Entry(EntryKind.PAGE, message, "escalate"))])


def _pause(attempts: int, error: Temporary) -> timedelta:
    """What the channel asked for, else full jitter: many pages must not knock in step."""
    if error.retry_after_seconds is not None:
        return timedelta(seconds=error.retry_after_seconds)
    jitter = random.uniform(0.5, 1)  # noqa: S311  # spreads load, guards nothing
    return timedelta(seconds=FIRST_RETRY.total_seconds() * 2**attempts * jitter)
