"""An intake that files what it is given, by a rulebook that is as short as can be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from remediator.domain.alert import Alert, Delivery
from remediator.domain.ids import SourceName
from remediator.domain.mode import Mode
from remediator.domain.opening import Opening
from remediator.engine.bell import Bell
from remediator.engine.intake import Intake
from remediator.metrics import Metrics
from remediator.store.database import Database
from tests.store.facts import opening


@dataclass
class Rules:
    """A rulebook that opens one incident for all alerts, and stumbles over some of them."""

    stumbles_over: str = ""

    def opening(self, alert: Alert, *, ceiling: Mode) -> Opening | None:
        if alert.fingerprint in self.stumbles_over.split():
            raise ZeroDivisionError("a bug in a rule")
        return opening()


@asynccontextmanager
async def running(
    database: Database, rules: Rules | None = None, *, bells: tuple[Bell, Bell, Bell] | None = None
) -> AsyncIterator[Intake]:
    book: Any = rules or Rules()
    bells = bells or (Bell(), Bell(), Bell())
    intake = Intake(database, lambda: book, ceiling=Mode.ACT, metrics=Metrics(), bells=bells)
    writer = asyncio.create_task(intake.run())
    try:
        yield intake
    finally:
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)


def of(*alerts: Alert, source: str = "am") -> Delivery:
    return Delivery(SourceName(source), b"{}", alerts)
