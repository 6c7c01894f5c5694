"""Keeps the gauges about shared state: read now and then, never by whoever takes alerts or pages."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import structlog

from remediator.domain.errors import Temporary
from remediator.metrics import Metrics
from remediator.store import figures
from remediator.store.database import Database

log = structlog.get_logger()

EVERY = timedelta(seconds=15)
"""As often as most scrape."""


@dataclass(frozen=True, slots=True)
class Figures:
    database: Database
    metrics: Metrics

    async def run(self) -> None:
        """Until cancelled. While the database is lost they stay as they were: `remediator_database_up` says so."""
        while True:
            try:
                await self.look()
            except Temporary as error:
                await self.database.health.sit_out("read figures", error)
            except Exception as error:  # a bug: alerts, pages and fixes must go on
                log.exception("figures not read", error=str(error))
            await asyncio.sleep(EVERY.total_seconds())

    async def look(self) -> None:
        async with self.database.connection() as connection:
            seen = await figures.read(connection)
        self.metrics.open_incidents.labels(status="triggered").set(seen.triggered)
        self.metrics.open_incidents.labels(status="acknowledged").set(seen.acknowledged)
        self.metrics.oldest_unsent_page.set(seen.oldest_unsent_page.total_seconds())
        self.metrics.kill_switch.set(seen.kill_switch)
