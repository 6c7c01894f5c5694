"""What waits to be filed: first come, first served within a source, and the sources take turns.

A big delivery is cut into parts, so that everybody else's alert is stored between two of them.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator

import msgspec

from remediator.domain.alert import Accepted, Alert, Delivery
from remediator.domain.ids import SourceName

MOST_ALERTS_A_BATCH = 1_000
"""About 50 ms of work: nobody waits longer than that for a stranger's flood."""
FEWEST_ALERTS_A_BATCH = 200
"""Unless fewer wait: a commit costs as much as tens of alerts."""
MOST_PARTS_A_BATCH = 1_000


class Waiting(msgspec.Struct):
    """A delivery whose sender waits for its answer."""

    delivery: Delivery
    answer: asyncio.Future[Accepted]
    since: float
    """On the loop's clock."""
    taken: int = 0
    """How many of its alerts are in a part already."""
    stored: int = 0
    """How many are committed; two writers may have parts of it in hand at once."""

    @property
    def is_taken(self) -> bool:
        return self.taken == len(self.delivery.alerts)

    @property
    def is_stored(self) -> bool:
        return self.stored == len(self.delivery.alerts)


class Part(msgspec.Struct):
    """Some of a delivery's alerts; the first carries its body."""

    waiting: Waiting
    alerts: tuple[Alert, ...]
    begins_at: int
    """Among the delivery's alerts."""
    is_first: bool

    def halves(self) -> tuple["Part", "Part"]:
        middle = len(self.alerts) // 2
        return (
            Part(self.waiting, self.alerts[:middle], self.begins_at, self.is_first),
            Part(self.waiting, self.alerts[middle:], self.begins_at + middle, is_first=False),
        )


class FairQueue:
    def __init__(self) -> None:
        self._queues: OrderedDict[SourceName, deque[Waiting]] = OrderedDict()
        self.alerts = 0
        """In no part yet."""

    def __bool__(self) -> bool:
        return bool(self._queues)

    @property
    def oldest(self) -> float | None:
        """Since when the longest waiting has waited."""
        return min([queue[0].since for queue in self._queues.values()]) if self._queues else None

    def put(self, waiting: Waiting) -> None:
        self._queues.setdefault(waiting.delivery.source, deque()).append(waiting)
        self.alerts += len(waiting.delivery.alerts)

    def take(self, *, among: int = 1) -> list[Part]:
        """The next batch, one delivery (or a part of it) of each source in turn. `among` several: no more deliveries
        than make up that share of what waits."""
        parts: list[Part] = []
        room = MOST_ALERTS_A_BATCH
        reserve = max(room - max(FEWEST_ALERTS_A_BATCH, self.alerts // among), 0)
        while self._queues and room > reserve and len(parts) < MOST_PARTS_A_BATCH:
            source, queue = next(iter(self._queues.items()))
            part = _cut(queue[0], room)
            parts.append(part)
            room -= len(part.alerts)
            self.alerts -= len(part.alerts)
            if part.waiting.is_taken:
                queue.popleft()
            if queue:
                self._queues.move_to_end(source)
            else:
                del self._queues[source]
        return parts

    def empty(self) -> Iterator[Waiting]:
        """Everybody who waits, and nobody does any more."""
        self.alerts = 0
        while self._queues:
            _, queue = self._queues.popitem()
            yield from queue


def _cut(waiting: Waiting, room: int) -> Part:
    begin, all_of_them = waiting.taken, waiting.delivery.alerts
    end = waiting.taken = min(begin + room, len(all_of_them))
    alerts = all_of_them if end - begin == len(all_of_them) else all_of_them[begin:end]
    return Part(waiting, alerts, begin, is_first=begin == 0)
