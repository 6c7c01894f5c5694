"""Ends what is over and fires on in our books alone: its start and its end crossed between two replicas, neither saw
the other, and no sender tells either again. Whoever filed that end filed the end of nothing, and looks when the start
must be there; a look each minute finds what a crash has left.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta

import structlog

from remediator.domain.alert import Alert, Delivery
from remediator.domain.ids import SourceName
from remediator.engine.bell import Bell
from remediator.engine.intake import Intake
from remediator.engine.looking import looking_for
from remediator.store import crossed_ends
from remediator.store.database import Database

log = structlog.get_logger()

EVERY = timedelta(minutes=1)
SOON = timedelta(seconds=1)
"""After an end of nothing: what was filed at that moment is committed."""


@dataclass(frozen=True, slots=True)
class CrossedEnds:
    database: Database
    intake: Intake
    bell: Bell
    """Rung when an end of nothing was filed."""

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            async with looking_for("alerts that are over", self.database.health):
                await self.tell_again()
            await self.bell.wait(EVERY)
            await asyncio.sleep(SOON.total_seconds())

    async def tell_again(self) -> int:
        """How many: each end goes through intake, as if its sender had repeated it. Another replica may do the same."""
        async with self.database.connection() as connection:
            ends = await crossed_ends.find(connection)
        told_by: defaultdict[SourceName, list[Alert]] = defaultdict(list)
        for end in ends:
            told_by[end.source].append(end)
        for source, theirs in told_by.items():
            await self.intake.accept(Delivery(source, b"", tuple(theirs)))
            log.warning("alerts ended whose start and end had crossed", source=source, alerts=len(theirs))
        return len(ends)
