"""Webhook bodies as they are kept: as they were sent, and compressed where there is something to gain.

The alerts of a group resemble each other: at its fastest level Zstandard makes them some twenty times smaller, in a
tenth of the time that sending and storing the rest would take.
"""

import zstandard

WORTH_IT = 4096
"""Bytes: a few alerts. Less is kept as it is, readable by everybody."""

_FASTEST = zstandard.ZstdCompressor(level=1)
_DECOMPRESSOR = zstandard.ZstdDecompressor()


def packed(body: bytes) -> bytes:
    """Not for several threads at once."""
    return body if len(body) < WORTH_IT else _FASTEST.compress(body)


def unpacked(kept: bytes) -> bytes:
    """As it was sent. What is kept as it was is JSON, which never begins like a compressed frame."""
    return _DECOMPRESSOR.decompress(kept) if kept.startswith(zstandard.FRAME_HEADER) else kept
