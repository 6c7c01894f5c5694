"""The escalation clock at work: whose deadline has struck, whom to page, and into the outbox, in one transaction.

It runs beside the pipeline and asks nothing of it. In observe mode it tells the review log whom it would have paged.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from remediator.domain.errors import Temporary
from remediator.domain.escalation import Due, EscalationPolicy, due_now
from remediator.domain.ids import IncidentId
from remediator.domain.mode import Mode
from remediator.domain.notification import NotificationKind
from remediator.domain.oncall import Contact, Recipient, Roster
from remediator.domain.timeline import Entry, EntryKind
from remediator.engine.bell import Bell
from remediator.engine.pages import PageWriter
from remediator.marks import Mark, reached
from remediator.metrics import Metrics
from remediator.rules.rulebook import Rulebook
from remediator.store import escalations, ledger, outbox, timeline
from remediator.store.database import Connection, Database
from remediator.store.escalations import DueEscalation, Struck
from remediator.store.outbox import Outgoing

log = structlog.get_logger()

BATCH = 500


@dataclass(frozen=True, slots=True)
class Escalator:
    database: Database
    rulebook: Callable[[], Rulebook]
    writer: PageWriter
    bell: Bell
    """Ours: rung when an escalation may have become due."""
    courier_bell: Bell
    poll: timedelta
    metrics: Metrics
    review_channel: str = ""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            if not await self.strike():
                await self.bell.wait(self.poll)

    async def strike(self) -> int:
        """Pages whatever is due now; returns how many incidents that were."""
        try:
            async with self.database.transaction() as tx:
                due = await escalations.claim_due(tx, limit=BATCH)
                if due:
                    await self._page(tx, due)
                    reached(Mark.PAGE_ORDERED)
        except Temporary as error:
            await self.database.health.sit_out("escalate", error)
            return 0
        if due:
            self.courier_bell.ring()
        return len(due)

    async def _page(self, tx: Connection, due: Sequence[DueEscalation]) -> None:
        reachable = Reachable(self.rulebook().roster, await ledger.now(tx))
        orders = [self._order(escalation, reachable) for escalation in due]
        await outbox.enqueue(tx, [message for order in orders for message in order.messages])
        await timeline.append(tx, [(order.incident, entry) for order in orders for entry in order.entries])
        await escalations.advance(tx, [Struck(order.incident, order.due.step, order.due.next_in) for order in orders])

    def _order(self, escalation: DueEscalation, reachable: "Reachable") -> "_Order":
        """Pure but for the links it signs: who hears of it, and what the timeline says."""
        due = due_now(escalation.policy, escalation.since_start or timedelta())
        people, missing = reachable.by(due, escalation.policy)
        send = self._review if escalation.incident.mode is Mode.OBSERVE else self._send
        messages, entries = send(escalation, due, people)
        return _Order(escalation.incident.id, due, tuple(messages), (*map(_nobody, missing), *entries))

    def _send(
        self, escalation: DueEscalation, due: Due, people: Sequence[Recipient]
    ) -> tuple[list[Outgoing], list[Entry]]:
        incident = escalation.incident
        prefix = f"{incident.id}:{escalation.run}:{due.step}"
        outgoing = [
            Outgoing(
                self.writer.page(incident, recipient=person.name, dedup_key=key, kind=NotificationKind.PAGE), reach
            )
            for person in people
            for key, reach in ways(person, prefix, urgent=escalation.severity.urgent)
        ]
        return outgoing, [_paged(person, due) for person in people]

    def _review(
        self, escalation: DueEscalation, due: Due, people: Sequence[Recipient]
    ) -> tuple[list[Outgoing], list[Entry]]:
        incident = escalation.incident
        told = [
            Entry(EntryKind.PAGE, f"would page {person.name} (observe mode)", f"escalate[{due.step}]")
            for person in people
        ]
        if not self.review_channel:
            return [], told
        key = f"{incident.id}:{escalation.run}:{due.step}:review"
        note = self.writer.page(incident, recipient=self.review_channel, dedup_key=key, kind=NotificationKind.REVIEW)
        return [Outgoing(note, (Contact(self.review_channel, ""),))], told


@dataclass(frozen=True, slots=True)
class _Order:
    incident: IncidentId
    due: Due
    messages: tuple[Outgoing, ...]
    entries: tuple[Entry, ...]


class Reachable:
    """Whom each step reaches at one moment. Thousands of deadlines share a few steps, so each is looked up once."""

    def __init__(self, roster: Roster, at: datetime) -> None:
        self._roster = roster
        self._at = at
        self._known: dict[tuple[int, EscalationPolicy], tuple[tuple[Recipient, ...], tuple[str, ...]]] = {}

    def by(self, due: Due, policy: EscalationPolicy) -> tuple[tuple[Recipient, ...], tuple[str, ...]]:
        step = min(due.step, len(policy.steps))
        if (step, policy) not in self._known:
            steps = [step.page for step in policy.steps]
            self._known[step, policy] = whom(due, steps, self._roster, self._at)
        return self._known[step, policy]


def whom(
    due: Due, steps: Sequence[Sequence[str]], roster: Roster, at: datetime
) -> tuple[tuple[Recipient, ...], tuple[str, ...]]:
    """Who is paged, and which names reach nobody. A step that reaches nobody falls through to the next ones at once,
    and at the end to every channel there is: silence is the one answer that is never right."""
    missing: list[str] = []
    for names in (due.page, *steps[due.step + 1 :], tuple(sorted(roster.channels))):
        found = {name: roster.recipient(name, at) for name in names}
        missing += [name for name, recipient in found.items() if recipient is None]
        reachable = {r.name: r for r in found.values() if r is not None and r.reach}
        if reachable:
            return tuple(reachable.values()), tuple(missing)
    return (), tuple(missing)


def ways(person: Recipient, prefix: str, *, urgent: bool) -> list[tuple[str, tuple[Contact, ...]]]:
    """(dedup key, contacts in order): one message that falls through its contacts, or, urgent, one for each contact."""
    if not urgent:
        return [(f"{prefix}:{person.name}", person.reach)]
    return [
        (f"{prefix}:{person.name}:{contact.channel}", (contact, *(c for c in person.reach if c != contact)))
        for contact in person.reach
    ]


def _paged(person: Recipient, due: Due) -> Entry:
    channels = ", ".join(dict.fromkeys(contact.channel for contact in person.reach))
    return Entry(EntryKind.PAGE, f"paging {person.name} ({channels})", f"escalate[{due.step}]")


def _nobody(name: str) -> Entry:
    return Entry(EntryKind.PAGE, f"nobody is reachable as {name!r}: going on to the next step at once", "escalate")
