"""Webhook bodies as they are kept: as they were sent, and compressed where there is something to gain.

The alerts of a group resemble each other: at its fastest level Zstandard makes them some twenty times smaller, in a
tenth of the time that sending and storing the rest would take.
"""

from dataclasses import dataclass
from datetime import datetime

import zstandard

from remediator.domain.alert import Rejected
from remediator.domain.errors import NotFound
from remediator.domain.ids import SourceName
from remediator.store.database import Connection

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


_LATEST = """
SELECT id, received_at, source, alerts, rejected, truncated, octet_length(body) AS bytes FROM deliveries
WHERE rejected > 0 OR NOT $2 ORDER BY id DESC LIMIT $1
"""


async def latest(connection: Connection, *, limit: int, rejected_only: bool) -> list[KeptDelivery]:
    """The newest first."""
    return [KeptDelivery(**row) for row in await connection.fetch(_LATEST, limit, rejected_only)]


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
