"""The escalation clock at work: whose deadline has struck, whom to page, and into the outbox, in one transaction.

It runs beside the pipeline and asks nothing of it. In observe mode it tells the review log whom it would have paged.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from remediator.domain.errors import Temporary
from remediator.domain.escalation import Due, due_now
from remediator.domain.ids import IncidentId
from remediator.domain.mode import Mode
from remediator.domain.notification import NotificationKind
from remediator.domain.oncall import Contact, Recipient, Roster
from remediator.domain.timeline import Entry, EntryKind
from remediator.engine.bell import Bell
from remediator.engine.pages import PageWriter
from remediator.engine.right_of_way import RightOfWay
from remediator.marks import Mark, reached
from remediator.metrics import Metrics
from remediator.rules.rulebook import Rulebook
from remediator.store import escalations, ledger, outbox, timeline
from remediator.store.database import Connection, Database
from remediator.store.escalations import DueAlike, Struck
from remediator.store.outbox import PagesAlike

log = structlog.get_logger()

A_CROWD = 100
"""Due at once: whoever finds so many looks for more in larger batches, and in several."""
BATCH = 1_000
PUT_OFF = timedelta(minutes=1)
"""Before another try at what could not be read or decided."""
AT_ONCE = 2
"""Batches, in a crowd: one is decided while PostgreSQL works for the other."""


@dataclass(frozen=True, slots=True)
class Escalator:
    database: Database
    rulebook: Callable[[], Rulebook]
    writer: PageWriter
    bell: Bell
    """Ours: rung when an escalation may have become due."""
    courier_bell: Bell
    before_courier: RightOfWay
    poll: timedelta
    metrics: Metrics
    review_channel: str = ""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            # Asked first: what strikes between the question and the look is found by the look.
            until_next = await self._until_next()
            if not await self.strike():
                await self.bell.wait(until_next)

    async def strike(self) -> int:
        """Pages whatever is due now; returns how many incidents that were. The courier waits until all of a crowd are
        in the outbox: it would take its time from those who are not."""
        struck = await self._strike_batch(A_CROWD)
        if struck == A_CROWD:
            with self.before_courier.taken():
                async with asyncio.TaskGroup() as group:
                    crowd = [group.create_task(self._strike_crowd()) for _ in range(AT_ONCE)]
            struck += sum(task.result() for task in crowd)
        if struck:
            self.courier_bell.ring()
        return struck

    async def _strike_crowd(self) -> int:
        struck = 0
        while batch := await self._strike_batch(BATCH):
            struck += batch
        return struck

    async def _strike_batch(self, most: int) -> int:
        try:
            try:
                return await self._strike_together(most)
            except Temporary:
                raise
            except Exception as error:  # a bug, or an incident stored by another release: the others' pages must go out
                log.exception("pages not ordered together, they are one by one", error=str(error))
                return await self._strike_one_by_one(most)
        except Temporary as error:
            await self.database.health.sit_out("escalate", error)
            return 0

    async def _strike_together(self, most: int) -> int:
        async with self.database.transaction() as tx:
            due = await escalations.claim_due(tx, limit=most)
            if due:
                await self._page(tx, due)
                reached(Mark.PAGE_ORDERED)
        return sum(len(alike.incidents) for alike in due)

    async def _strike_one_by_one(self, most: int) -> int:
        struck = 0
        while struck < most and await self._strike_one():
            struck += 1
        return struck

    async def _strike_one(self) -> bool:
        """False where none is due, or somebody is changing the incident whose turn it is. Of what cannot be read, every
        channel hears once, and it is put off until somebody has seen to it."""
        async with self.database.transaction() as tx:
            incident = await escalations.hold_first(tx)
            if incident is None:
                return False
            try:
                async with tx.transaction():  # a savepoint: what fails is undone, and the row is still held
                    due = await escalations.claim_due(tx, limit=1, of=incident)
                    await self._page(tx, due)
                    return bool(due)
            except Exception as error:
                log.exception("page cannot be ordered", incident=incident, error=str(error), again_in=str(PUT_OFF))
                if await escalations.wants_a_page(tx, incident):
                    await outbox.order_pages(tx, self._to_every_channel(incident))
                await escalations.put_off(tx, incident, PUT_OFF)
        return True

    def _to_every_channel(self, incident: IncidentId) -> list[PagesAlike]:
        return [
            PagesAlike(
                incidents=[incident],
                run=0,
                step=0,
                key=call.key,
                kind=NotificationKind.PAGE,
                recipient=call.recipient,
                reach=call.reach,
                incidents_url=self.writer.incidents_url,
            )
            for call in calls_to_every_channel(self.rulebook().roster)
        ]

    async def _until_next(self) -> timedelta:
        """Another replica may order an earlier deadline meanwhile: the poll finds it."""
        try:
            async with self.database.connection() as connection:
                return await escalations.next_due_in(connection, at_most=self.poll)
        except Temporary:
            return self.poll

    async def _page(self, tx: Connection, due: Sequence[DueAlike]) -> None:
        roster, at = self.rulebook().roster, await ledger.now(tx)
        pages: list[PagesAlike] = []
        told: list[tuple[Sequence[IncidentId], Entry]] = []
        struck: list[Struck] = []
        for alike in due:
            ordered = order(alike, roster, at, review_channel=self.review_channel)
            pages += [self._pages_alike(alike, ordered, call) for call in ordered.calls]
            told += [(alike.incidents, entry) for entry in ordered.entries]
            struck.append(Struck(alike.incidents, ordered.step, ordered.next_in))
            _log(alike, ordered)
        await outbox.order_pages(tx, pages)
        await timeline.append_alike(tx, told)
        await escalations.advance(tx, struck)

    def _pages_alike(self, alike: DueAlike, ordered: "Order", call: "Call") -> PagesAlike:
        return PagesAlike(
            incidents=alike.incidents,
            run=alike.run,
            step=ordered.step,
            key=call.key,
            kind=ordered.kind,
            recipient=call.recipient,
            reach=call.reach,
            incidents_url=self.writer.incidents_url,
        )


@dataclass(frozen=True, slots=True)
class Call:
    """One message: it falls through its contacts."""

    recipient: str
    key: str
    """Its part of the dedup key: the rest is the incident, the run of its chain and the step."""
    reach: tuple[Contact, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """What one strike of the clock is answered with, for every incident in the same circumstances."""

    step: int
    next_in: timedelta
    kind: NotificationKind
    calls: tuple[Call, ...]
    entries: tuple[Entry, ...]


def order(alike: DueAlike, roster: Roster, at: datetime, *, review_channel: str) -> Order:
    """Who hears of it, and what the timeline says."""
    due = due_now(alike.policy, alike.since_start or timedelta())
    people, missing = whom(due, [step.page for step in alike.policy.steps], roster, at)
    nobody = tuple(map(_nobody, missing))
    if alike.mode is Mode.OBSERVE:
        review = (Call(review_channel, "review", (Contact(review_channel, ""),)),) if review_channel else ()
        told = (_would_page(person, due) for person in people)
        return Order(due.step, due.next_in, NotificationKind.REVIEW, review, (*nobody, *told))
    calls = tuple(call for person in people for call in calls_to(person, urgent=alike.severity.urgent))
    told = (_paged(person, due) for person in people)
    return Order(due.step, due.next_in, NotificationKind.PAGE, calls, (*nobody, *told))


def whom(
    due: Due, steps: Sequence[Sequence[str]], roster: Roster, at: datetime
) -> tuple[tuple[Recipient, ...], tuple[str, ...]]:
    """Who is paged, and which names reach nobody. A step that reaches nobody falls through to the next ones at once,
    and at the end to every channel there is: silence is the one answer that is never right."""
    missing: list[str] = []
    for names in (due.page, *steps[due.step + 1 :], tuple(sorted(roster.channels))):
        found = {name: reachable(roster, name, at) for name in names}
        missing += [name for name, recipient in found.items() if recipient is None]
        to_page = {r.name: r for r in found.values() if r is not None and r.reach}
        if to_page:
            return tuple(to_page.values()), tuple(missing)
    return (), tuple(missing)


def reachable(roster: Roster, name: str, at: datetime) -> Recipient | None:
    """None: nobody, which the caller must say."""
    try:
        return roster.recipient(name, at)
    except Exception as error:  # whatever is wrong with a schedule, somebody else is paged instead
        log.exception("nobody can be found by this name", name=name, error=str(error))
        return None


def calls_to(person: Recipient, *, urgent: bool) -> list[Call]:
    """Each message goes by the contacts it is for, and falls through to the person's others."""
    keys = {contact: person.key(contact, urgent=urgent) for contact in person.reach}
    return [
        Call(person.name, key, tuple(sorted(person.reach, key=lambda contact: keys[contact] != key)))
        for key in dict.fromkeys(keys.values())
    ]


def calls_to_every_channel(roster: Roster) -> list[Call]:
    """Where nobody can read whom to page."""
    return [Call(name, f"unreadable:{name}", (Contact(name, ""),)) for name in sorted(roster.channels)]


def _log(alike: DueAlike, ordered: Order) -> None:
    """Not an incident each: they are struck by the thousand."""
    about = {"incidents": len(alike.incidents), "first": min(alike.incidents), "step": ordered.step}
    if ordered.calls or ordered.kind is not NotificationKind.PAGE:
        log.debug("messages ordered", kind=ordered.kind.value, to=[call.recipient for call in ordered.calls], **about)
    else:
        log.error("page reaches nobody: no channel is left", **about)


def _paged(person: Recipient, due: Due) -> Entry:
    channels = ", ".join(dict.fromkeys(contact.channel for contact in person.reach))
    return Entry(EntryKind.PAGE, f"paging {person.name} ({channels})", f"escalate[{due.step}]")


def _would_page(person: Recipient, due: Due) -> Entry:
    return Entry(EntryKind.PAGE, f"would page {person.name} (observe mode)", f"escalate[{due.step}]")


def _nobody(name: str) -> Entry:
    return Entry(EntryKind.PAGE, f"nobody is reachable as {name!r}: going on to the next step at once", "escalate")
