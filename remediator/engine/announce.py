"""Tells the people who were paged that it is over."""

from collections.abc import Sequence

from remediator.domain.briefing import briefing_on
from remediator.domain.incident import Incident
from remediator.domain.notification import NotificationKind
from remediator.engine.pages import PageWriter
from remediator.store import outbox
from remediator.store.database import Connection
from remediator.store.outbox import Outgoing


async def announce_ends(tx: Connection, ended: Sequence[Incident], writer: PageWriter) -> None:
    """In the transaction that resolves the incidents; each recipient once, by the channel that reached them."""
    incidents = {incident.id: incident for incident in ended}
    pages = await outbox.sent_pages(tx, list(incidents))
    told = {(page.incident, page.recipient): page.reach for page in pages}
    await outbox.enqueue(
        tx,
        [
            Outgoing(
                writer.page(
                    briefing_on(incidents[number]),
                    recipient=recipient,
                    dedup_key=f"{number}:resolved:{recipient}",
                    kind=NotificationKind.RESOLVED,
                ),
                reach,
                incidents[number].rule,
            )
            for (number, recipient), reach in told.items()
        ],
    )
