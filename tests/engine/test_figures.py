"""The metrics tell of what lies in the database, and are there before anything has happened."""

from pathlib import Path

import pytest

from remediator.domain.episode import Filing
from remediator.domain.ids import IncidentId
from remediator.domain.incident import Incident
from remediator.domain.notification import Notification, NotificationKind, Receipt
from remediator.domain.oncall import Contact
from remediator.engine.figures import Figures
from remediator.engine.rules_in_force import RulesInForce
from remediator.metrics import Metrics
from remediator.store import incidents, ledger, outbox
from remediator.store.database import Database
from remediator.store.outbox import Outgoing
from tests.rules.folder import write_rules
from tests.store.facts import LEASE, alert, claimed, file, opening


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"remediator_{name}", labels)


async def test_open_incidents_are_counted_by_status(database: Database) -> None:
    for number in range(3):
        await file(database, alert(f"f{number}"), opens=lambda _, number=number: opening(f"run-{number}"))
    async with database.transaction() as tx:
        await incidents.acknowledge(tx, IncidentId(1), by="alice")
        await incidents.resolve(tx, IncidentId(2), by="alice", note="")
    metrics = Metrics()

    await Figures(database, metrics).look()

    assert value(metrics, "open_incidents", status="triggered") == 1
    assert value(metrics, "open_incidents", status="acknowledged") == 1


async def test_the_oldest_page_that_nobody_took_has_an_age(database: Database) -> None:
    incident, metrics = await claimed(database), Metrics()
    async with database.transaction() as tx:
        await outbox.enqueue(tx, [page_of(incident, "alice"), page_of(incident, "bob")])
        await tx.execute("UPDATE outbox SET created_at = now() - interval '10 minutes' WHERE recipient = 'bob'")
    await Figures(database, metrics).look()
    waiting = value(metrics, "oldest_unsent_page_seconds")

    async with database.transaction() as tx:
        items = await outbox.claim(tx, lease=LEASE, limit=2)
        await outbox.sent(tx, [(item, Receipt()) for item in items])
    await Figures(database, metrics).look()

    assert waiting == pytest.approx(600, abs=60)
    assert value(metrics, "oldest_unsent_page_seconds") == 0


async def test_the_kill_switch_is_seen(database: Database) -> None:
    metrics = Metrics()
    for on in (True, False):
        async with database.transaction() as tx:
            await ledger.set_kill_switch(tx, on=on, by="alice", reason="")
        await Figures(database, metrics).look()

        assert value(metrics, "kill_switch") == float(on)


def test_a_rule_file_that_is_broken_at_the_start_is_seen(tmp_path: Path) -> None:
    (write_rules(tmp_path) / "broken.yaml").write_text("rule: [")
    metrics = Metrics()

    metrics.follow_rules(RulesInForce.load(tmp_path).files_with)

    assert value(metrics, "rule_files_with_problems", severity="error") == 1
    assert value(metrics, "rule_files_with_problems", severity="warning") == 0


def test_what_alerts_are_written_on_is_there_before_it_happens() -> None:
    metrics = Metrics()
    metrics.begin_at_zero(channels=["chat"], filings=Filing, polled=["am"])

    assert value(metrics, "rule_reloads_total", result="refused") == 0
    assert value(metrics, "pages_total", channel="chat", result="failed") == 0
    assert value(metrics, "last_resort_pages_total", channel="chat", result="failed") == 0
    assert value(metrics, "alerts_total", filing="put_aside") == 0
    assert value(metrics, "source_polls_total", source="am", result="failed") == 0
    assert b"_created" not in metrics.render()


def page_of(incident: Incident, recipient: str) -> Outgoing:
    key = f"{incident.id}:1:0:{recipient}"
    note = Notification(incident.id, NotificationKind.PAGE, key, recipient, "", "", "down", "sev1", "")
    return Outgoing(note, (Contact("console", ""),), incident.rule)
