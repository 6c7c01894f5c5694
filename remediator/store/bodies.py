"""Webhook bodies as they are kept: as they were sent, and compressed where there is something to gain.

The alerts of a group resemble each other: at its fastest level Zstandard makes them some twenty times smaller, in a
tenth of the time that sending and storing the rest would take.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import zstandard

from remediator.domain.alert import Delivery, Rejected
from remediator.domain.errors import NotFound
from remediator.domain.ids import SourceName
from remediator.store.database import Connection, clean

WORTH_IT = 4096
"""Bytes: a few alerts. Less is kept as it is, readable by everybody."""

_FASTEST = zstandard.ZstdCompressor(level=1)
_DECOMPRESSOR = zstandard.ZstdDecompressor()


def packed(body: bytes) -> bytes:
    """Not for several threads at once."""
    return body if len(body) < WORTH_IT else _FASTEST.compress(body)


def unpacked(kept: bytes) -> bytes:
    """As it was sent. Only of what could be read: JSON never begins like a compressed frame, anything else may, and
    what a sender compressed is not for us to unpack."""
    return _DECOMPRESSOR.decompress(kept) if kept.startswith(zstandard.FRAME_HEADER) else kept


INSERT = """
INSERT INTO deliveries (source, body, alerts, rejected, truncated)
SELECT source, body, alerts, rejected, truncated FROM ROWS FROM (
    unnest({bodies}::bytea[]), jsonb_to_recordset({rows}) AS (source text, alerts int, rejected int, truncated int)
) d(body, source, alerts, rejected, truncated)
"""
"""`bodies` and `rows`: the parameters that bring what `rows` gives."""


def rows(deliveries: Iterable[Delivery]) -> tuple[list[bytes], list[dict[str, object]]]:
    """For `INSERT`. What came by a poll has no body to keep."""
    sent = [delivery for delivery in deliveries if delivery.body or delivery.rejected]
    return [packed(d.body) for d in sent], [
        {"source": d.source, "alerts": len(d.alerts), "rejected": len(d.rejected), "truncated": d.truncated}
        for d in sent
    ]


_KEEP = INSERT.format(bodies="$1", rows="$2") + "RETURNING id"
_PUT_ASIDE = """
INSERT INTO quarantine (delivery_id, source, position, reason, raw)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::int[], $4::text[], $5::bytea[])
"""


async def keep(tx: Connection, deliveries: Sequence[Delivery]) -> None:
    """With what could not be read of them."""
    sent = [delivery for delivery in deliveries if delivery.body or delivery.rejected]
    numbers = sorted(row["id"] for row in await tx.fetch(_KEEP, *rows(sent)))
    put_aside = [(number, d, r) for number, d in zip(numbers, sent, strict=True) for r in d.rejected]
    if put_aside:
        await tx.execute(
            _PUT_ASIDE,
            [number for number, _, _ in put_aside],
            [clean(delivery.source) for _, delivery, _ in put_aside],
            [rejected.position for _, _, rejected in put_aside],
            [clean(rejected.reason) for _, _, rejected in put_aside],
            [rejected.raw for _, _, rejected in put_aside],
        )


@dataclass(frozen=True, slots=True)
class KeptDelivery:
    id: int
    received_at: datetime
    source: SourceName
    alerts: int
    rejected: int
    truncated: int
    bytes: int
    """As kept."""


_KEPT = """
SELECT id, received_at, source, alerts, rejected, truncated, octet_length(body) AS bytes
FROM deliveries {among} ORDER BY id DESC LIMIT $1
"""
_LATEST = _KEPT.format(among="")
# Few are: they are not looked for among all that ever came.
_LATEST_REJECTED = _KEPT.format(
    among="WHERE id = ANY(ARRAY(SELECT DISTINCT delivery_id FROM quarantine ORDER BY delivery_id DESC LIMIT $1))"
)


async def latest(connection: Connection, *, limit: int, rejected_only: bool) -> list[KeptDelivery]:
    """The newest first."""
    rows = await connection.fetch(_LATEST_REJECTED if rejected_only else _LATEST, limit)
    return [KeptDelivery(**row) for row in rows]


_REJECTED = """
SELECT position, reason, raw FROM quarantine WHERE delivery_id = $1 ORDER BY position
"""


async def sent(connection: Connection, delivery: int) -> tuple[bytes, list[Rejected]]:
    """The body as it was sent, and what could not be read of it. Raises `NotFound`."""
    body = await connection.fetchval("SELECT body FROM deliveries WHERE id = $1", delivery)
    if body is None:
        raise NotFound(f"there is no delivery {delivery}, or it is older than `retention.raw_days`")
    rejected = [Rejected(*row) for row in await connection.fetch(_REJECTED, delivery)]
    unreadable = next((one.raw for one in rejected if one.position < 0), None)
    return unpacked(body) if unreadable is None else unreadable, rejected
