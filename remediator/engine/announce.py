"""Tells the people who were paged that it is over."""

from remediator.domain.incident import Incident
from remediator.domain.notification import NotificationKind
from remediator.engine.pages import PageWriter
from remediator.store import outbox
from remediator.store.database import Connection
from remediator.store.outbox import Outgoing


async def announce_end(tx: Connection, incident: Incident, writer: PageWriter) -> None:
    """In the transaction that resolves the incident; each recipient once, by the channel that reached them."""
    told = {item.recipient: item.reach for item in await outbox.sent_pages(tx, incident.id)}
    await outbox.enqueue(
        tx,
        [
            Outgoing(
                writer.page(
                    incident,
                    recipient=recipient,
                    dedup_key=f"{incident.id}:resolved:{recipient}",
                    kind=NotificationKind.RESOLVED,
                ),
                reach,
            )
            for recipient, reach in told.items()
        ],
    )
