"""Carries the outbox to people. Retries what may work later, falls through to the next channel where it will not,
and pages every channel there is when a person's last channel has failed. A second page is better than none."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

import msgspec
import structlog

from remediator.domain.errors import NotFound, RemediatorError, Temporary
from remediator.domain.incident import Status
from remediator.domain.notification import Notification, NotificationKind, Receipt
from remediator.domain.oncall import Contact, Roster
from remediator.domain.timeline import Entry, EntryKind
from remediator.engine.announce import announce_to_the_late
from remediator.engine.bell import Bell
from remediator.engine.clock import stopwatch
from remediator.engine.group_commit import GroupCommit
from remediator.engine.guidance import GuidanceReader
from remediator.engine.logbook import tell_of_message
from remediator.engine.pages import PageWriter
from remediator.engine.patience import is_unanswered, retry_in
from remediator.engine.right_of_way import RightOfWay
from remediator.marks import Mark, reached
from remediator.metrics import Metrics
from remediator.rules.rulebook import Rulebook
from remediator.store import outbox, timeline
from remediator.store.database import Connection, Database, despite_others
from remediator.store.outbox import OutboxItem
from remediator.toolbox import Messengers

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Taken:
    """The channel took it."""

    item: OutboxItem
    receipt: Receipt
    again: bool = False
    """It was to be recorded before, and perhaps was."""

    @property
    def told(self) -> str:
        return f"{self.item.kind} sent to {self.item.recipient} by {self.item.contact.channel}"


@dataclass(frozen=True, slots=True)
class NotTaken:
    item: OutboxItem
    error: Exception
    again: bool = False


Outcome = Taken | NotTaken

LEASE = timedelta(seconds=30)
MOST_A_CHANNEL = 40
"""In flight at once. There is no bound on all of them: channels that hang would use it up."""
CLAIMED_AT_ONCE = MOST_A_CHANNEL // 2
"""By then there must be room for as many: claiming anew for each message that lands would cost more than sending it."""
KNOWN_WITHIN = timedelta(minutes=2)
"""Perhaps a replica with newer rules has ordered it by a channel that is new. Then every replica knows it, or none."""
ELSEWHERE_WITHIN = timedelta(seconds=5)
"""Until one claims it that knows the channel."""
STOP_WITHIN = timedelta(seconds=15)
"""For what is on its way when the daemon stops; below Kubernetes' 30 s of grace."""


class Courier:
    def __init__(
        self,
        database: Database,
        rulebook: Callable[[], Rulebook],
        messengers: Messengers,
        writer: PageWriter,
        *,
        bell: Bell,
        after_escalator: RightOfWay,
        poll: timedelta,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._rulebook = rulebook
        self._messengers = messengers
        self._writer = writer
        self._guidance = GuidanceReader(database, rulebook)
        self._bell = bell
        self._after_escalator = after_escalator
        self._poll = poll
        self._metrics = metrics
        self._in_flight: Counter[str] = Counter()
        """Channel -> messages on their way."""
        self._records: GroupCommit[Outcome, None] = GroupCommit(self._write)

    async def run(self) -> None:
        """Until cancelled; then what is on its way may arrive and be written down, else it would be sent twice. A slow
        channel holds up its own messages only."""
        on_their_way: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:
            try:
                while True:
                    await self._after_escalator.given()
                    items = await self._claim()
                    for item in items:
                        task = group.create_task(self._carry(item))
                        on_their_way.add(task)
                        task.add_done_callback(on_their_way.discard)
                    if not items:
                        await self._bell.wait(self._poll)
            finally:
                if on_their_way:
                    await asyncio.wait(on_their_way, timeout=STOP_WITHIN.total_seconds())

    async def deliver(self) -> int:
        """Sends whatever is due now and waits for it; returns how many."""
        items = await self._claim()
        async with asyncio.TaskGroup() as group:
            for item in items:
                group.create_task(self._carry(item))
        return len(items)

    async def _claim(self) -> Sequence[OutboxItem]:
        full = [channel for channel in self._in_flight if not self._has_room(channel)]
        try:
            async with self._database.connection() as connection:
                items = await outbox.claim(connection, lease=LEASE, limit=CLAIMED_AT_ONCE, passing_over=full)
        except Temporary as error:
            await self._database.health.sit_out("read the outbox", error)
            return ()
        self._in_flight.update(item.contact.channel for item in items)
        return items

    def _has_room(self, channel: str) -> bool:
        return self._in_flight[channel] + CLAIMED_AT_ONCE <= MOST_A_CHANNEL

    def _landed(self, channel: str) -> None:
        """The channel has answered: it has room, whether or not that is written down already."""
        self._in_flight[channel] -= 1
        if self._has_room(channel):
            self._bell.ring()

    async def _carry(self, item: OutboxItem) -> None:
        lease_ends = stopwatch() + LEASE.total_seconds()
        reached(Mark.PAGE_CLAIMED)
        try:
            outcome = await self._try(item)
        finally:
            self._landed(item.contact.channel)
        reached(Mark.PAGE_SENT)
        try:
            await self._record(outcome, until=lease_ends)
        except Exception as error:  # a bug too: this one may be sent twice, and the others must go out
            is_bug = not isinstance(error, RemediatorError)
            channel = item.contact.channel
            log.warning(
                "delivery not recorded, it may be sent twice", channel=channel, error=str(error), exc_info=is_bug
            )
        reached(Mark.PAGE_RECORDED)

    async def _record(self, outcome: Outcome, *, until: float) -> None:
        """`until` is when its lease ends: then another may have it, and knows nothing of what we sent."""
        while True:
            try:
                await self._records.submit(outcome)
            except Temporary as error:
                if stopwatch() >= until:
                    raise
                await self._database.health.sit_out("record what was sent", error)
                outcome = replace(outcome, again=True)
            else:
                return

    async def _try(self, item: OutboxItem) -> Outcome:
        try:
            return Taken(item, await self._send(item))
        except Exception as error:  # whatever is wrong with this channel, the next one may be right
            if not isinstance(error, (RemediatorError, TimeoutError)):
                log.exception("notifier failed", channel=item.contact.channel)
            return NotTaken(item, error)

    async def _send(self, item: OutboxItem) -> Receipt:
        notifier = self._rulebook().notifier(item.contact.channel)
        message = await self._message(item)
        async with asyncio.timeout(notifier.timeout.total_seconds() + 1):
            return await notifier.send(message, self._messengers)

    async def _message(self, item: OutboxItem) -> Notification:
        """A page says what is known now, not what was known when it was ordered, or tried the first time."""
        key = item.notification.dedup_key
        if item.about is None:
            return self._as_ordered(item)
        guidance = await self._guidance.of(item.about.rule_version)
        about = msgspec.structs.replace(item.about, guidance=guidance)
        try:
            fresh = self._writer.page(about, recipient=item.recipient, dedup_key=key, kind=item.kind)
        except Exception as error:  # a bug: a page that says less must still go out
            log.exception("page is sent as it was ordered", incident=item.incident, error=str(error))
            return self._as_ordered(item)
        return msgspec.structs.replace(item, notification=fresh).addressed

    def _as_ordered(self, item: OutboxItem) -> Notification:
        """With a link to acknowledge by, which is made when a page is sent."""
        note = item.addressed
        if item.kind is not NotificationKind.PAGE or not note.ends_with_its_chain:
            return note
        try:
            link = self._writer.acknowledge_url(item.incident, item.recipient)
        except Exception as error:  # likewise
            log.exception("page is sent without a link", incident=item.incident, error=str(error))
            return note
        return msgspec.structs.replace(note, acknowledge_url=link)

    async def _write(self, outcomes: Sequence[Outcome]) -> list[None]:
        """Tried again on a deadlock: what is not written down when its lease runs out is sent once more."""
        return await despite_others(partial(self._write_once, outcomes))

    async def _write_once(self, outcomes: Sequence[Outcome]) -> list[None]:
        async with self._database.transaction() as tx:
            unwanted = await outbox.hold(tx, [outcome.item for outcome in outcomes])
            known = await outbox.recorded(tx, [outcome.item for outcome in outcomes if outcome.again])
            fresh = [outcome for outcome in outcomes if outcome.item.id not in known]
            taken = [outcome for outcome in fresh if isinstance(outcome, Taken)]
            await self._taken(tx, taken, unwanted)
            results: list[tuple[OutboxItem, str, Exception | None]] = [(one.item, "sent", None) for one in taken]
            for outcome in fresh:
                if isinstance(outcome, NotTaken):
                    result = await self._not_taken(tx, outcome, in_hand=unwanted.get(outcome.item.id))
                    results.append((outcome.item, result, outcome.error))
        for item, result, error in results:
            self._metrics.pages.labels(channel=item.contact.channel, result=result).inc()
            tell_of_message(item, result, error)
        return [None] * len(outcomes)

    async def _taken(self, tx: Connection, taken: Sequence[Taken], unwanted: Mapping[int, Status]) -> None:
        await outbox.sent(tx, [(one.item, one.receipt) for one in taken])
        await _tell(tx, [(one.item, one.told) for one in taken])
        late = [one.item for one in taken if unwanted.get(one.item.id) is Status.RESOLVED]
        await announce_to_the_late(tx, late, self._writer)

    async def _not_taken(self, tx: Connection, failed: NotTaken, *, in_hand: Status | None) -> str:
        """What became of it. `in_hand`: what its incident is, where nobody is to be paged by it any more."""
        item, error = failed.item, failed.error
        if is_unanswered(error):
            await outbox.note_unanswered(tx, item)
        if in_hand is not None:
            await self._give_up(tx, item, in_hand)
            return "withdrawn"
        if isinstance(error, NotFound) and item.age < KNOWN_WITHIN:
            await outbox.put_back(tx, item, delay=ELSEWHERE_WITHIN, error=str(error))
            return "retried"
        wait = retry_in(item, error)
        if wait is None:
            await self._fall_through(tx, item, error)
            return "failed"
        await outbox.retry(tx, item, delay=wait, error=str(error))
        return "retried"

    async def _give_up(self, tx: Connection, item: OutboxItem, in_hand: Status) -> None:
        perhaps_arrived = await outbox.withdraw(tx, item)
        if perhaps_arrived is not None and in_hand is Status.RESOLVED:
            await announce_to_the_late(tx, [perhaps_arrived], self._writer)

    async def _fall_through(self, tx: Connection, item: OutboxItem, error: Exception) -> None:
        if not await outbox.next_contact(tx, item, error=str(error)):
            return
        following = item.reach[1].channel if len(item.reach) > 1 else "no channel left"
        told = f"{item.contact.channel} did not reach {item.recipient}: {error}; next: {following}"
        await _tell(tx, [(item, told)])
        if len(item.reach) == 1:
            await self._last_resort(tx, item)

    async def _last_resort(self, tx: Connection, item: OutboxItem) -> None:
        """Every other channel, for a page alone: what a dry run would have sent, or that something is over, wakes
        nobody. Its own failure is told, and ends here."""
        if item.is_last_resort or item.kind is not NotificationKind.PAGE:
            return
        await outbox.enqueue_last_resort(tx, item, _everywhere(item, self._rulebook().roster))


def _everywhere(item: OutboxItem, roster: Roster) -> list[tuple[Contact, ...]]:
    """Each channel: by the recipient's own addresses, where there are any. Some channels reach nobody without one."""
    person = roster.people.get(item.recipient)
    known = (*(person.reach if person else ()), item.contact)
    own = {name: tuple(dict.fromkeys(each for each in known if each.channel == name)) for name in roster.channels}
    return [own[name] or (Contact(name, ""),) for name in sorted(roster.channels)]


async def _tell(tx: Connection, told: Sequence[tuple[OutboxItem, str]]) -> None:
    await timeline.append(tx, [(item.incident, Entry(EntryKind.PAGE, message, "escalate")) for item, message in told])
