"""What went out without the database is written down when it is back: the timeline tells of it, and whoever was paged
hears that it is over, as after any page. A process that ends before leaves its log alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from msgspec.structs import replace

from remediator.domain.errors import Temporary
from remediator.domain.incident import Status
from remediator.domain.notification import Notification
from remediator.domain.oncall import Contact
from remediator.domain.timeline import Entry, EntryKind
from remediator.engine.announce import announce_to_the_late
from remediator.engine.pages import PageWriter
from remediator.store import outbox, timeline
from remediator.store.database import Connection, Database
from remediator.store.health import monotonic
from remediator.store.outbox import SentAlready

log = structlog.get_logger()

MOST_KEPT = 10_000
AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _Sent:
    notification: Notification
    at: timedelta
    """A reading of the clock that never goes back."""


@dataclass(frozen=True, slots=True)
class SentFromMemory:
    database: Database
    writer: PageWriter
    _sent: list[_Sent] = field(default_factory=list)

    def add(self, note: Notification) -> None:
        """As its channel took it. Recorded by a key of its own: what waits in the outbox is sent all the same."""
        recorded = replace(note, dedup_key=f"{note.dedup_key}:{note.channel}:from-memory")
        if len(self._sent) < MOST_KEPT:
            self._sent.append(_Sent(recorded, monotonic()))
        else:
            log.warning("a page from memory will be told by the log alone", key=recorded.dedup_key)

    async def write_down(self) -> None:
        """All of it, unless the database is lost again: then the rest is for the next time."""
        while batch := self._sent[:AT_ONCE]:
            try:
                await self._write_together(batch)
            except Temporary:
                return
            del self._sent[: len(batch)]

    async def _write_together(self, batch: Sequence[_Sent]) -> None:
        try:
            async with self.database.transaction() as tx:
                await self._write(tx, batch)
        except Temporary:
            raise
        except Exception as error:  # a bug: one that cannot be written must neither cost the others theirs nor stay
            log.exception("page from memory not written down", pages=len(batch), error=str(error))
            for one in batch if len(batch) > 1 else ():
                await self._write_together([one])

    async def _write(self, tx: Connection, batch: Sequence[_Sent]) -> None:
        items = await outbox.record_sent(tx, [_row(one) for one in batch])
        told = "page sent to {} by {} from memory, while the database was lost"
        await timeline.append(
            tx,
            [
                (item.incident, Entry(EntryKind.PAGE, told.format(item.recipient, item.contact.channel), "escalate"))
                for item in items
            ],
        )
        unwanted = await outbox.hold(tx, items)
        late = [item for item in items if unwanted.get(item.id) is Status.RESOLVED]
        once = {(item.incident, item.recipient, item.contact): item for item in late}
        await announce_to_the_late(tx, list(once.values()), self.writer)


def _row(sent: _Sent) -> SentAlready:
    note = sent.notification
    return SentAlready(note, (Contact(note.channel, note.address),), monotonic() - sent.at)
