"""The escalation clock at work: whose deadline has struck, whom to page, and into the outbox, in one transaction.

It runs beside the pipeline and asks nothing of it. In observe mode it tells the review log whom it would have paged.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from remediator.domain.errors import Temporary
from remediator.domain.escalation import Due, due_now
from remediator.domain.mode import Mode
from remediator.domain.notification import NotificationKind
from remediator.domain.oncall import Contact, Recipient, Roster
from remediator.domain.timeline import Entry, EntryKind
from remediator.engine.bell import Bell
from remediator.engine.pages import PageWriter
from remediator.marks import Mark, reached
from remediator.metrics import Metrics
from remediator.rules.rulebook import Rulebook
from remediator.store import escalations, incidents, ledger, outbox
from remediator.store.database import Connection, Database
from remediator.store.escalations import DueEscalation
from remediator.store.outbox import Outgoing

log = structlog.get_logger()

BATCH = 200


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
                now = await ledger.now(tx)
                for escalation in due:
                    await self._page(tx, escalation, now)
                if due:
                    reached(Mark.PAGE_ORDERED)
        except Temporary as error:
            log.warning("cannot escalate", error=str(error))
            return 0
        if due:
            self.courier_bell.ring()
        return len(due)

    async def _page(self, tx: Connection, escalation: DueEscalation, now: datetime) -> None:
        incident = escalation.incident
        due = due_now(escalation.policy, escalation.since_start or timedelta())
        roster = self.rulebook().roster
        people, missing = whom(due, [step.page for step in escalation.policy.steps], roster, now)
        entries = [_nobody(name) for name in missing]
        if incident.mode is Mode.OBSERVE:
            entries += await self._review(tx, escalation, due, people)
        else:
            entries += await self._send(tx, escalation, due, people)
        await incidents.append_entries(tx, incident.id, entries)
        await escalations.advance(tx, incident.id, step=due.step, next_in=due.next_in)

    async def _send(
        self, tx: Connection, escalation: DueEscalation, due: Due, people: Sequence[Recipient]
    ) -> list[Entry]:
        incident = escalation.incident
        prefix = f"{incident.id}:{escalation.run}:{due.step}"
        outgoing = [
            Outgoing(
                self.writer.page(incident, recipient=person.name, dedup_key=key, kind=NotificationKind.PAGE), reach
            )
            for person in people
            for key, reach in ways(person, prefix, urgent=escalation.severity.urgent)
        ]
        await outbox.enqueue(tx, outgoing)
        return [_paged(person, due) for person in people]

    async def _review(
        self, tx: Connection, escalation: DueEscalation, due: Due, people: Sequence[Recipient]
    ) -> list[Entry]:
        incident = escalation.incident
        if self.review_channel:
            key = f"{incident.id}:{escalation.run}:{due.step}:review"
            note = self.writer.page(
                incident, recipient=self.review_channel, dedup_key=key, kind=NotificationKind.REVIEW
            )
            await outbox.enqueue(tx, [Outgoing(note, (Contact(self.review_channel, ""),))])
        return [
            Entry(EntryKind.PAGE, f"would page {person.name} (observe mode)", f"escalate[{due.step}]")
            for person in people
        ]


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
