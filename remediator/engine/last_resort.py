"""Pages without a database. While it is well, the next deadlines are kept in memory; when it has been lost for longer
than a grace, whatever strikes is sent by the last-resort channels. A second page after the recovery is accepted.
"""

import asyncio
import dataclasses
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import partial
from typing import assert_never

import structlog
from msgspec.structs import replace

from remediator.domain.errors import Temporary
from remediator.domain.escalation import due_now
from remediator.domain.ids import IncidentId
from remediator.domain.last_resort import (
    TRY_AGAIN,
    Call,
    Deadline,
    Deadlines,
    RunningChain,
    WaitingPage,
    by_every_channel,
    calls,
    strike,
)
from remediator.domain.mode import Mode, lower
from remediator.domain.notification import Notification, NotificationKind
from remediator.engine.escalate import reachable, whom
from remediator.engine.pages import PageWriter, links_on_a_page
from remediator.engine.sent_from_memory import SentFromMemory
from remediator.language.duration import format_duration
from remediator.metrics import Metrics
from remediator.rules.rulebook import Rulebook
from remediator.store import deadlines
from remediator.store.database import Database
from remediator.store.health import monotonic
from remediator.toolbox import Messengers

log = structlog.get_logger()

MOST_WATCHED = 1_000
TICK = timedelta(seconds=1)
READ_EVERY = timedelta(seconds=2)
READ_AT_LEAST_EVERY = timedelta(seconds=5)
READING_SHARE = 20
"""Between the two, reading ahead takes at most a twentieth of the time, however much there is to read."""
MOST_A_CHANNEL = 10
"""In flight at once: a channel that hangs holds up its own pages only."""
NO_INCIDENT = IncidentId(0)
MARK = "the database is not reachable"


@dataclass(frozen=True, slots=True)
class Terms:
    channels: tuple[str, ...] = ()
    """Empty: every channel of the roster."""
    grace: timedelta = timedelta(seconds=30)
    tell_after: timedelta = timedelta(minutes=2)


class Answer(Enum):
    """Of a channel."""

    REFUSED = auto()
    SHOWN = auto()
    """It took the page, and perhaps nobody looks."""
    TOLD = auto()


class LastResort:
    def __init__(
        self,
        database: Database,
        rulebook: Callable[[], Rulebook],
        messengers: Messengers,
        *,
        terms: Terms,
        ceiling: Mode,
        clock: Callable[[], datetime],
        writer: PageWriter,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._health = database.health
        self._rulebook = rulebook
        self._messengers = messengers
        self._terms = terms
        self._ceiling = ceiling
        self._clock = clock
        self._writer = writer
        self._metrics = metrics
        self._known = Deadlines()
        self._met: set[IncidentId] = set()
        """Whose deadlines were ever in memory since the database was steady."""
        self._sent = SentFromMemory(database, writer)
        self._read_next = timedelta()
        self._outage = ""
        """The key of the outage that people have been told of; empty: of none."""
        self._lost_for = timedelta()
        self._room: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(MOST_A_CHANNEL))

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                for page in await self._tick_at_any_rate():
                    group.create_task(self.carry(page))
                await asyncio.sleep(TICK.total_seconds())

    async def _tick_at_any_rate(self) -> Sequence[WaitingPage]:
        try:
            return await self.tick()
        except Exception as error:  # a bug: were this the end, what is in memory would end with it
            log.exception("the last resort stumbled", error=str(error))
            return ()

    async def tick(self) -> Sequence[WaitingPage]:
        """What is to be sent now: nothing, while the database is well."""
        if self._health.is_steady:
            await self._sent.write_down()
            await self._read_ahead()
            return self._end_of_outage()
        if self._health.is_well:
            await self._forget_settled()
            await self._learn_new()
            return ()  # it may be lost again in a moment: what was sent already must not be read anew
        self._lost_for = self._health.down_for
        return (
            *(self._begin_of_outage() if self._lost_for >= self._terms.tell_after and not self._outage else ()),
            *(self._strike() if self._lost_for >= self._terms.grace else ()),
        )

    @property
    def watched(self) -> int:
        """How many deadlines are in memory."""
        return len(self._known.all)

    async def _read_ahead(self) -> None:
        upcoming = await self._upcoming()
        if upcoming is not None:
            self._known, self._met = upcoming, set(upcoming.chains)
            self._metrics.watched_deadlines.set(self.watched)

    async def _learn_new(self) -> None:
        """Alerts are stored in such a moment, however many of them an outage has: their pages strike too."""
        upcoming = await self._upcoming()
        if upcoming is not None:
            room = max(MOST_WATCHED - self.watched, 0)
            new = [each for each in upcoming.all if each.chain is not None and each.chain not in self._met][:room]
            self._met |= {each.chain for each in new if each.chain is not None}
            self._known = self._known.with_more(new)

    async def _upcoming(self) -> Deadlines | None:
        """None where it is too soon for another look, or the database is lost: the watch tells of it, and what was
        read before still counts."""
        started = monotonic()
        if started < self._read_next:
            return None
        try:
            async with self._database.connection() as connection:
                upcoming = await deadlines.upcoming(connection, monotonic, at_most=MOST_WATCHED)
        except Temporary:
            return None
        took = monotonic() - started
        self._read_next = started + min(max(READ_EVERY, took * READING_SHARE), READ_AT_LEAST_EVERY)
        return upcoming

    async def _forget_settled(self) -> None:
        """Somebody may have acknowledged in such a moment. Only what the database says ends a page."""
        if not self._known.all:
            return
        try:
            async with self._database.connection() as connection:
                settled = await deadlines.settled(connection, monotonic, self._known.chains)
        except Temporary:
            return
        self._known = self._known.without(settled)

    def _strike(self) -> list[WaitingPage]:
        now = monotonic()
        struck, self._known = self._known.struck(now)
        return [page for deadline in struck for page in self._pages_or_later(deadline, now)]

    def _pages_or_later(self, deadline: Deadline, now: timedelta) -> list[WaitingPage]:
        pages = _written(partial(self._pages_for, deadline, now))
        if pages is None:
            self._known = self._known.with_more([dataclasses.replace(deadline, due=now + TRY_AGAIN)])
        return pages or []

    def _pages_for(self, deadline: Deadline, now: timedelta) -> list[WaitingPage]:
        match deadline:
            case WaitingPage():
                return self._unless_dry_run(by_every_channel(deadline, self._channels()), self._ceiling)
            case RunningChain():
                return self._unless_dry_run(self._next_of(deadline, now), lower(self._ceiling, deadline.mode))
            case _:
                assert_never(deadline)

    def _next_of(self, chain: RunningChain, now: timedelta) -> WaitingPage:
        due, following = strike(chain, now)
        self._known = self._known.with_more([following])
        steps = [step.page for step in chain.policy.steps]
        people, _ = whom(due, steps, self._rulebook().roster, self._clock())
        ordered = calls(f"{chain.incident}:{chain.run}:{due.step}", people, self._channels(), urgent=chain.urgent)
        note = _note(
            chain.incident,
            title=chain.title,
            severity=chain.severity,
            body=f"incident {chain.incident}, severity {chain.severity}",
            url=f"{self._writer.incidents_url}{chain.incident}",
        )
        rule = self._rulebook().version(chain.rule_version)  # of another one nobody can be asked now
        note = replace(note, links=links_on_a_page(rule.guidance) if rule is not None else {})
        return WaitingPage(note, ordered, now)

    def _begin_of_outage(self) -> list[WaitingPage]:
        began = self._clock() - self._lost_for
        key = f"database-outage:{began:%Y-%m-%dT%H:%M}"
        body = (
            f"Remediator has not reached its database for {_roughly(self._lost_for)}: {self._health.reason}\n"
            "No alert is accepted and nothing is fixed. Pages that were due go out from memory."
        )
        pages = _written(
            partial(self._about_outage, key, "Remediator has lost its database", body, NotificationKind.PAGE)
        )
        if pages is not None:
            self._outage = key
        return pages or []

    def _end_of_outage(self) -> list[WaitingPage]:
        if not self._outage:
            return []
        key, self._outage = f"{self._outage}:over", ""
        body = f"It was lost for {_roughly(self._lost_for)}. Pages sent from memory may come a second time, or be over."
        return self._about_outage(key, "Remediator has its database again", body, NotificationKind.RESOLVED)

    def _about_outage(self, key: str, title: str, body: str, kind: NotificationKind) -> list[WaitingPage]:
        """To whoever would be paged first, by whatever policy."""
        roster, now = self._rulebook().roster, self._clock()
        first = (due_now(policy, timedelta()) for policy in self._rulebook().policies.values())
        names = dict.fromkeys(name for due in first for name in due.page)
        people = [person for name in names if (person := reachable(roster, name, now)) is not None]
        severity = min(self._rulebook().severities.values(), key=lambda each: each.respond_within)
        note = replace(
            _note(NO_INCIDENT, title=title, severity=severity.name, body=body, url=self._writer.public_url), kind=kind
        )
        page = WaitingPage(note, calls(key, people, self._channels(), urgent=False), monotonic())
        return self._unless_dry_run(page, self._ceiling)

    def _unless_dry_run(self, page: WaitingPage, mode: Mode) -> list[WaitingPage]:
        if mode is not Mode.OBSERVE:
            return [page]
        whom_to = list(dict.fromkeys(call.recipient for call in page.calls))
        log.warning("would page (observe mode)", incident=page.notification.incident, people=whom_to)
        return []

    def _channels(self) -> tuple[str, ...]:
        return self._terms.channels or tuple(sorted(self._rulebook().roster.channels))

    async def carry(self, page: WaitingPage) -> None:
        """By every channel at once. Until one took it that reaches people, it is due again on those that did not."""
        answers = await asyncio.gather(*(self._call(page.notification, call) for call in page.calls))
        answered = list(zip(page.calls, answers, strict=True))
        left = page.without([call for call, answer in answered if answer is not Answer.REFUSED])
        is_everywhere = not left.calls and bool(left.taken_by)
        if Answer.TOLD in answers or is_everywhere or self._health.is_steady:
            return
        jitter = random.uniform(0.5, 1)  # noqa: S311  # spreads load, guards nothing
        self._known = self._known.with_more([left.again(monotonic() + TRY_AGAIN * jitter)])

    async def _call(self, note: Notification, call: Call) -> Answer:
        channel = call.contact.channel
        try:
            addressed = self._addressed(note, call)
            notifier = self._rulebook().notifier(channel)
            async with self._room[channel], asyncio.timeout(notifier.timeout.total_seconds() + 1):
                await notifier.send(addressed, self._messengers)
        except Exception as error:  # whatever is wrong with this channel, the others are tried all the same
            self._metrics.last_resort_pages.labels(channel=channel, result="failed").inc()
            log.warning("last resort did not reach anybody", channel=channel, key=call.dedup_key, error=str(error))
            return Answer.REFUSED
        self._metrics.last_resort_pages.labels(channel=channel, result="sent").inc()
        log.warning("paged without the database", channel=channel, key=call.dedup_key, recipient=call.recipient)
        if note.incident != NO_INCIDENT:
            self._sent.add(addressed)
        return Answer.TOLD if notifier.reaches_people else Answer.SHOWN

    def _addressed(self, note: Notification, call: Call) -> Notification:
        to = replace(
            note,
            recipient=call.recipient,
            dedup_key=call.dedup_key,
            channel=call.contact.channel,
            address=call.contact.address,
        )
        if note.incident == NO_INCIDENT:
            return to
        reason = (
            f"{MARK} ({self._health.reason}): this was sent from memory, and nobody can acknowledge until it is back"
        )
        link = self._writer.acknowledge_url(note.incident, call.recipient) if note.ends_with_its_chain else ""
        return replace(to, title=f"{note.title} [{MARK}]", body=f"{note.body}\n{reason}", acknowledge_url=link)


def _written(write: Callable[[], list[WaitingPage]]) -> list[WaitingPage] | None:
    """None where there is a bug in it: it must cost these pages alone, and those not for ever."""
    try:
        return write()
    except Exception as error:
        log.exception("page from memory not written", error=str(error))
        return None


def _note(incident: IncidentId, *, title: str, severity: str, body: str, url: str) -> Notification:
    """To whom and by which channel comes later."""
    return Notification(
        incident=incident,
        kind=NotificationKind.PAGE,
        dedup_key="",
        recipient="",
        channel="",
        address="",
        title=title,
        severity=severity,
        body=body,
        incident_url=url,
    )


def _roughly(duration: timedelta) -> str:
    return format_duration(timedelta(seconds=round(duration.total_seconds())))
