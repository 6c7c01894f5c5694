"""Keeps the gauges about shared state: read now and then, never by whoever takes alerts or pages."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from remediator.engine.looking import looking_for
from remediator.metrics import Metrics
from remediator.store import figures
from remediator.store.database import Database

EVERY = timedelta(seconds=15)
"""As often as most scrape."""


@dataclass(frozen=True, slots=True)
class Figures:
    database: Database
    metrics: Metrics

    async def run(self) -> None:
        """Until cancelled. While the database is lost they stay as they were: `remediator_database_up` says so."""
        while True:
            async with looking_for("figures", self.database.health):
                await self.look()
            await asyncio.sleep(EVERY.total_seconds())

    async def look(self) -> None:
        async with self.database.connection() as connection:
            seen = await figures.read(connection)
        self.metrics.open_incidents.labels(status="triggered").set(seen.triggered)
        self.metrics.open_incidents.labels(status="acknowledged").set(seen.acknowledged)
        self.metrics.oldest_unsent_page.set(seen.oldest_unsent_page.total_seconds())
        self.metrics.kill_switch.set(seen.kill_switch)
