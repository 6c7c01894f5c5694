"""How many bytes of webhook bodies may be in memory at once. Who finds no room is refused at the door."""

from typing import Self

from remediator.domain.errors import Overloaded
from remediator.domain.ids import SourceName


class Room:
    """Bounds memory whatever arrives: at most `most` bytes, and beyond them one body for each source that has none.

    A source that floods us fills three quarters of it and is refused; the last quarter is for the others.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.held_by: dict[SourceName, int] = {}
        self.held = 0
        """Bytes, by all sources together."""

    def hold(self, source: SourceName, size: int) -> "Hold":
        """Until left. Raises `Overloaded` before anything is read."""
        return Hold(self, source, size)


class Hold:
    """One body's share of the room. Grows while a body whose length was not announced is read."""

    __slots__ = ("_room", "_size", "_source", "_wanted")

    def __init__(self, room: Room, source: SourceName, announced: int) -> None:
        self._room = room
        self._source = source
        self._wanted = announced
        self._size = 0

    def grow(self, size: int) -> None:
        """Raises `Overloaded`."""
        room = self._room
        mine = room.held_by.get(self._source, 0)
        if mine and (room.held + size > room.most or mine + size > room.most * 3 // 4):
            raise Overloaded(f"{mine >> 20} MiB of {self._source}'s alerts are waiting already")
        room.held_by[self._source] = mine + size
        room.held += size
        self._size += size

    def __enter__(self) -> Self:
        self.grow(self._wanted)
        return self

    def __exit__(self, *_error: object) -> None:
        room = self._room
        room.held -= self._size
        left = room.held_by.pop(self._source, 0) - self._size
        if left:
            room.held_by[self._source] = left
