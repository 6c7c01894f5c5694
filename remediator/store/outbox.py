"""Messages to people, from the transaction that decided them to the channel that took them. At least once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from remediator.domain.ids import IncidentId
from remediator.domain.notification import Notification, NotificationKind, Receipt
from remediator.domain.oncall import Contact
from remediator.store.database import Connection, clean
from remediator.store.documents import from_document, to_document

_LAST_RESORT = ":last-resort"


@dataclass(frozen=True, slots=True)
class Outgoing:
    notification: Notification
    reach: tuple[Contact, ...]
    """In the order to be tried."""


@dataclass(frozen=True, slots=True)
class OutboxItem:
    id: int
    epoch: int
    attempts: int
    """On the first contact of `reach`."""
    reach: tuple[Contact, ...]
    """Those still to try; the first is under way."""
    notification: Notification

    @property
    def incident(self) -> IncidentId:
        return self.notification.incident

    @property
    def kind(self) -> NotificationKind:
        return self.notification.kind

    @property
    def recipient(self) -> str:
        return self.notification.recipient

    @property
    def is_last_resort(self) -> bool:
        return self.notification.dedup_key.endswith(_LAST_RESORT)

    def notification_for(self, contact: Contact) -> Notification:
        return replace(self.notification, channel=contact.channel, address=contact.address)


async def enqueue(tx: Connection, messages: Sequence[Outgoing]) -> None:
    """A message whose dedup key is known already is the same message."""
    await tx.executemany(
        """INSERT INTO outbox (incident_id, dedup_key, kind, recipient, reach, notification)
           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (dedup_key) DO NOTHING""",
        [
            (
                m.notification.incident,
                clean(m.notification.dedup_key),
                m.notification.kind,
                clean(m.notification.recipient),
                to_document(m.reach),
                to_document(m.notification),
            )
            for m in messages
            if m.reach
        ],
    )


async def enqueue_last_resort(tx: Connection, item: OutboxItem, reach: Sequence[Contact]) -> None:
    """One message a channel: whoever is left, all at once."""
    await enqueue(
        tx,
        [
            Outgoing(
                replace(item.notification, dedup_key=f"{item.notification.dedup_key}:{contact.channel}{_LAST_RESORT}"),
                (contact,),
            )
            for contact in reach
        ],
    )


_ITEM = "o.id, o.epoch, o.attempts, o.reach, o.notification"


async def claim(tx: Connection, *, lease: timedelta, limit: int) -> list[OutboxItem]:
    """Pages before everything else, the oldest first."""
    rows = await tx.fetch(
        f"""WITH due AS (
                SELECT id FROM outbox
                WHERE due_at <= now() AND (lease_until IS NULL OR lease_until < now())
                ORDER BY kind <> 'page', due_at, id LIMIT $2 FOR UPDATE SKIP LOCKED
            )
            UPDATE outbox o SET lease_until = now() + $1, epoch = o.epoch + 1
            FROM due WHERE o.id = due.id RETURNING {_ITEM}""",  # noqa: S608  # constants only
        lease,
        limit,
    )
    return [_item(row) for row in rows]


async def sent(tx: Connection, item: OutboxItem, receipt: Receipt) -> None:
    await tx.execute(
        """UPDATE outbox SET state = 'sent', sent_at = clock_timestamp(), due_at = NULL, lease_until = NULL,
               provider_id = $3, error = '' WHERE id = $1 AND epoch = $2""",
        item.id,
        item.epoch,
        clean(receipt.provider_id),
    )


async def retry(tx: Connection, item: OutboxItem, *, delay: timedelta, error: str) -> None:
    await tx.execute(
        """UPDATE outbox SET due_at = now() + $3, lease_until = NULL, attempts = attempts + 1, error = $4
           WHERE id = $1 AND epoch = $2""",
        item.id,
        item.epoch,
        delay,
        clean(error),
    )


async def next_contact(tx: Connection, item: OutboxItem, *, error: str) -> None:
    """On to the following contact at once; failed where there is none."""
    left = item.reach[1:]
    await tx.execute(
        """UPDATE outbox SET reach = CASE WHEN $3 THEN $4 ELSE reach END, attempts = 0, error = $5, lease_until = NULL,
               due_at = CASE WHEN $3 THEN now() END, state = CASE WHEN $3 THEN 'queued' ELSE 'failed' END
           WHERE id = $1 AND epoch = $2""",
        item.id,
        item.epoch,
        bool(left),
        to_document(left),
        clean(error),
    )


async def sent_pages(connection: Connection, incident: IncidentId) -> list[OutboxItem]:
    rows = await connection.fetch(
        f"SELECT {_ITEM} FROM outbox o WHERE incident_id = $1 AND kind = 'page' AND state = 'sent' ORDER BY id",  # noqa: S608
        incident,
    )
    return [_item(row) for row in rows]


def _item(row: Any) -> OutboxItem:
    return OutboxItem(
        id=row["id"],
        epoch=row["epoch"],
        attempts=row["attempts"],
        reach=from_document(row["reach"], tuple[Contact, ...]),
        notification=from_document(row["notification"], Notification),
    )
