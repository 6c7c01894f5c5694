"""What polls said of a source that nobody polls any more is forgotten: a silence there must not hold a fix for ever.

Settings are read at the start only, and replicas may have different ones while a release rolls out. So it is not the
start that decides, but that nobody has polled the source for a while.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

import structlog

from remediator.domain.ids import SourceName
from remediator.engine.looking import looking_for
from remediator.store import reconciliation, sources
from remediator.store.database import Database

log = structlog.get_logger()

EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Unpolled:
    database: Database
    polled: Collection[SourceName]
    """By us: however long ago that was, we shall."""

    async def run(self) -> None:
        """Until cancelled. Not at once: when all have been down, whoever polls the source is only starting too."""
        while True:
            await asyncio.sleep(EVERY.total_seconds())
            async with looking_for("sources that nobody polls any more", self.database.health):
                while await self.forget_one():
                    pass

    async def forget_one(self) -> SourceName | None:
        """The source of which something was known until now."""
        async with self.database.transaction() as tx:
            source = await sources.leave_unpolled(tx, self.polled)
            if source is None:
                return None
            await reconciliation.forget(tx, source)
        log.warning("source not polled any more", source=source)
        return source
