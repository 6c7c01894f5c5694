"""How many bytes of webhook bodies may be in memory at once. Who finds no room is refused at the door."""

from collections import Counter
from typing import Self

from remediator.domain.errors import Overloaded
from remediator.domain.ids import SourceName


class Room:
    """Bounds memory whatever arrives: at most `most` bytes, and beyond them one body for each source that has none.

    A source that floods us fills three quarters of it and is refused; the last quarter is for the others.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._held_by: Counter[SourceName] = Counter()
        self.held = 0
        """Bytes, by all sources together."""

    def hold(self, source: SourceName, size: int) -> "Hold":
        """Until left. Raises `Overloaded` before anything is read."""
        return Hold(self, source, size)

    def take(self, source: SourceName, size: int) -> None:
        mine = self._held_by[source]
        if mine and (self.held + size > self._most or mine + size > self._most * 3 // 4):
            raise Overloaded(f"{mine >> 20} MiB of {source}'s alerts are waiting already")
        self._held_by[source] += size
        self.held += size

    def give_back(self, source: SourceName, size: int) -> None:
        self._held_by[source] -= size
        self.held -= size
        if not self._held_by[source]:
            del self._held_by[source]


class Hold:
    """One body's share of the room. Grows while a body whose length was not announced is read."""

    def __init__(self, room: Room, source: SourceName, announced: int) -> None:
        self._room = room
        self._source = source
        self._announced = announced
        self._size = 0

    def grow(self, size: int) -> None:
        """Raises `Overloaded`."""
        self._room.take(self._source, size)
        self._size += size

    def __enter__(self) -> Self:
        self.grow(self._announced)
        return self

    def __exit__(self, *_error: object) -> None:
        self._room.give_back(self._source, self._size)
