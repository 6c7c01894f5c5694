"""Tells the people who were paged, or may have been, that it is over."""

from collections.abc import Sequence

from remediator.domain.briefing import briefing_on
from remediator.domain.incident import Incident
from remediator.domain.notification import NotificationKind
from remediator.engine.pages import PageWriter
from remediator.store import incidents, outbox
from remediator.store.database import Connection
from remediator.store.outbox import OutboxItem, Outgoing


async def announce_ends(tx: Connection, ended: Sequence[Incident], writer: PageWriter) -> None:
    """In the transaction that resolves the incidents; each recipient once, by the channel that reached them, or perhaps
    did."""
    known = {incident.id: incident for incident in ended}
    pages = await outbox.arrived(tx, list(known))
    told = {(page.incident, page.recipient): page for page in pages}
    await outbox.enqueue(
        tx,
        [
            _notice(known[number], page, f"{number}:resolved:{recipient}", writer=writer)
            for (number, recipient), page in told.items()
        ],
    )


async def announce_to_the_late(tx: Connection, late: Sequence[OutboxItem], writer: PageWriter) -> None:
    """In the transaction that records pages whose incidents had ended meanwhile: as sent, or as given up though they
    may have arrived. Each has a notice of its own, after it: another one to the same person may be there already. None
    of an incident that cannot be read: what became of the page must be recorded all the same."""
    known = await incidents.get_readable(tx, {page.incident for page in late})
    await outbox.enqueue(
        tx,
        [
            _notice(known[page.incident], page, f"{page.notification.dedup_key}:resolved", writer=writer)
            for page in late
            if page.incident in known
        ],
    )


def _notice(incident: Incident, page: OutboxItem, key: str, *, writer: PageWriter) -> Outgoing:
    """By the way that the page went."""
    note = writer.page(briefing_on(incident), recipient=page.recipient, dedup_key=key, kind=NotificationKind.RESOLVED)
    return Outgoing(note, page.reach, incident.rule)
