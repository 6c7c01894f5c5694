"""A source with two fake peers, our intake and a reconciler that polls when a test says so."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from remediator.clients.alertmanager import Alertmanager, PeerKind
from remediator.clients.http import open_http
from remediator.domain.alert import Alert, AlertStatus, Delivery
from remediator.domain.ids import Fingerprint, SourceName
from remediator.domain.mode import Mode
from remediator.engine.bell import Bell
from remediator.engine.intake import Intake
from remediator.engine.reconcile import Polled, Reconciler
from remediator.metrics import Metrics
from remediator.store import sources
from remediator.store.database import Database
from tests.fakes.alertmanager import GRAFANA_AT_ONCE, RECEIVER, FakeAlertmanager, fake_alertmanager, fingerprint_of
from tests.rules.folder import load_with

SOURCE = SourceName("alertmanager")
_MOMENTS = ("opened_at", "last_seen_at", "closed_at", "missed_since")


@dataclass
class Watch:
    database: Database
    intake: Intake
    reconciler: Reconciler
    polled: Polled
    peers: tuple[FakeAlertmanager, FakeAlertmanager]
    metrics: Metrics

    async def poll(self, times: int = 1) -> None:
        """As if its time had come."""
        for _ in range(times):
            await self.execute("UPDATE source_polls SET due_at = now()")
            assert await self.reconciler.poll(self.polled)

    async def webhook(self, *alerts: Alert, truncated: int = 0) -> None:
        await self.intake.accept(Delivery(SOURCE, b"{}", alerts, truncated=truncated))

    async def had(self, *, since: timedelta = timedelta(), **labels: str) -> None:
        """Told by webhook and listed by one peer; gone from its list since."""
        told = told_by_webhook(since=since, **labels)
        await self.webhook(told)
        self.peers[0].alerts[self.peers[0].fire(**labels)]["startsAt"] = told.starts_at.isoformat()
        await self.poll()
        self.peers[0].end(**labels)

    async def episodes(self) -> list[dict[str, Any]]:
        """In the order they opened, with the alert's name and whether it is open."""
        return await self.fetch(
            "SELECT *, labels ->> 'alertname' AS name, closed_at IS NULL AS open FROM episodes ORDER BY id"
        )

    async def told(self) -> list[str]:
        return [row["message"] for row in await self.fetch("SELECT message FROM timeline ORDER BY id")]

    async def fetch(self, sql: str) -> list[dict[str, Any]]:
        async with self.database.connection() as connection:
            return [dict(row) for row in await connection.fetch(sql)]

    async def execute(self, sql: str) -> None:
        async with self.database.connection() as connection:
            await connection.execute(sql)

    async def later(self, by: timedelta) -> None:
        """Everything we know of episodes happened that much longer ago."""
        moved = ", ".join(f"{column} = {column} - interval '{by.total_seconds()} s'" for column in _MOMENTS)
        await self.execute(f"UPDATE episodes SET {moved}")  # noqa: S608  # our own columns and a number


def told_by_webhook(
    *, status: AlertStatus = AlertStatus.FIRING, since: timedelta = timedelta(), **labels: str
) -> Alert:
    """The same alert as `FakeAlertmanager.fire` lists with these labels."""
    now = datetime.now(UTC)
    ended = now if status is AlertStatus.RESOLVED else None
    return Alert(SOURCE, Fingerprint(fingerprint_of(labels)), status, labels, now - since, ends_at=ended)


@asynccontextmanager
async def watching(database: Database, folder: Path, *, grafana: bool = False) -> AsyncIterator[Watch]:
    rulebook = load_with(folder).rulebook
    metrics = Metrics()
    intake = Intake(database, lambda: rulebook, ceiling=Mode.ACT, metrics=metrics, bells=(Bell(), Bell(), Bell()))
    kind = PeerKind.GRAFANA if grafana else PeerKind.ALERTMANAGER
    async with (
        fake_alertmanager(grafana=grafana) as first,
        fake_alertmanager(grafana=grafana) as second,
        open_http(private_networks=True) as http,
        asyncio.TaskGroup() as group,
    ):
        if grafana:
            first.config = second.config = GRAFANA_AT_ONCE
        clients = tuple(Alertmanager(fake.url, kind, http, timeout=timedelta(seconds=2)) for fake in (first, second))
        polled = Polled(SOURCE, kind, RECEIVER, timedelta(seconds=30), clients)
        reconciler = Reconciler(database, intake, [polled], metrics=metrics)
        async with database.transaction() as tx:
            await sources.enrol(tx, [SOURCE])
        filing = group.create_task(intake.run())
        yield Watch(database, intake, reconciler, polled, (first, second), metrics)
        filing.cancel()
