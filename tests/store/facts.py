"""Alerts, openings and a filed incident, as short as a test can say them."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from remediator.domain.alert import Alert, AlertStatus, Delivery
from remediator.domain.episode import Filing
from remediator.domain.escalation import EscalationPolicy, EscalationStep, Severity
from remediator.domain.filing import Familiar
from remediator.domain.ids import Fingerprint, RuleName, RuleVersion, SourceName
from remediator.domain.incident import Incident
from remediator.domain.mode import Mode
from remediator.domain.opening import Opening
from remediator.domain.target import Target
from remediator.store import filing, incidents
from remediator.store.database import Connection, Database

LEASE = timedelta(seconds=60)
POLICY = EscalationPolicy("on-call", (EscalationStep(("alice",)), EscalationStep(("bob",))))
SEVERITY = Severity("sev1", "Critical", "", timedelta(minutes=15), "on-call")


def alert(fingerprint: str = "f1", **changes: object) -> Alert:
    made = Alert(
        SourceName("am"),
        Fingerprint(fingerprint),
        AlertStatus.FIRING,
        {"alertname": "ServiceDown", "instance": fingerprint},
        datetime.now(UTC),
    )
    return msgspec.structs.replace(made, **changes)


def resolved(fingerprint: str = "f1", **changes: object) -> Alert:
    return alert(fingerprint, **{"status": AlertStatus.RESOLVED, "ends_at": datetime.now(UTC), **changes})


def opening(run_key: str = "service-down/backend") -> Opening:
    return Opening(
        rule=RuleName("service-down"),
        rule_version=RuleVersion("v1"),
        run_key=run_key,
        title="ServiceDown on backend",
        severity=SEVERITY,
        policy=POLICY,
        mode=Mode.ACT,
        target=Target("deployment", "backend", "prod"),
        first_page_in=timedelta(minutes=2),
    )


async def file(
    database: Database, *alerts: Alert, opens: Callable[[Alert], Opening | None] = lambda _: opening()
) -> dict[Filing, int]:
    async with database.connection() as connection:
        sent = [Delivery(SourceName("am"), b"{}", alerts)]
        result = await filing.file(connection, sent, alerts, opens, Familiar())
    return dict(result.filings)


async def claimed(database: Database) -> Incident:
    """A new incident, claimed by `tests`."""
    await file(database, alert())
    async with database.transaction() as tx:
        [incident] = await incidents.claim(tx, owner="tests", lease=LEASE, limit=10)
    return incident


_WAITING = "SELECT count(DISTINCT pid) FROM pg_locks, pg_sleep(0.01) WHERE NOT granted"


async def until_they_wait(connection: Connection, *tasks: asyncio.Future[Any]) -> None:
    """Each is over, or waits for a row that somebody holds."""
    while await connection.fetchval(_WAITING) < sum(not task.done() for task in tasks):
        pass


async def count(database: Database, table: str) -> int:
    async with database.connection() as connection:
        found: int = await connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608  # a test's own table name
    return found
