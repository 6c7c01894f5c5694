"""An alert that is more severe than the incident it joins is not paged as a lesser one."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from remediator.domain.alert import Alert, Delivery
from remediator.domain.escalation import EscalationPolicy, EscalationStep, Severity
from remediator.domain.filing import Familiar
from remediator.domain.ids import IncidentId, SourceName
from remediator.domain.opening import Opening
from remediator.store import escalations, filing, incidents, timeline
from remediator.store.database import Database
from remediator.store.escalations import Struck
from tests.fakes.watched import watched_database
from tests.store.facts import alert, count, file, opening, resolved

QUEUE = EscalationPolicy("ticket-queue", (EscalationStep(("queue",)),))
PEOPLE = EscalationPolicy("on-call", (EscalationStep(("alice",)),))
SEV1 = Severity("sev1", "Critical", "", timedelta(minutes=15), "on-call", urgent=True)
SEV3 = Severity("sev3", "Medium", "", timedelta(hours=4), "ticket-queue", at_once=False)
OPENINGS = {
    "sev1": replace(opening(), severity=SEV1, policy=PEOPLE, first_page_in=timedelta()),
    "sev3": replace(opening(), severity=SEV3, policy=QUEUE, first_page_in=timedelta(hours=4)),
}
FIRST = IncidentId(1)


def firing(fingerprint: str, severity: str) -> Alert:
    return alert(fingerprint, labels={"alertname": "ServiceDown", "instance": fingerprint, "severity": severity})


async def tell(database: Database, *alerts: Alert, familiar: Familiar | None = None) -> None:
    async with database.connection() as connection:
        sent = [Delivery(SourceName("am"), b"{}", alerts)]
        await filing.file(connection, sent, alerts, asked_for, familiar or Familiar())


def asked_for(told: Alert) -> Opening:
    return OPENINGS[told.labels["severity"]]


@dataclass
class Chain:
    severity: str
    policy: str
    wait: timedelta
    """Until its next deadline; below zero once that is due."""
    run: int
    status: str

    @property
    def is_due(self) -> bool:
        return self.wait <= timedelta()


async def chain(database: Database) -> Chain:
    """Of the one incident that is open, whose severity and that of its chain are the same."""
    async with database.connection() as connection:
        [row] = await connection.fetch(
            """SELECT i.severity, e.policy ->> 'name', e.due_at - now(), e.run, i.status
               FROM escalations e JOIN incidents i ON i.id = e.incident_id AND i.severity = e.severity ->> 'name'
               WHERE i.status <> 'resolved' AND (started_at IS NULL) = (last_step = -1)"""
        )
    return Chain(*row)


async def told(database: Database) -> list[str]:
    async with database.connection() as connection:
        return [entry.message for entry in await timeline.of_incident(connection, FIRST)]


async def page(database: Database) -> None:
    """The chain's first page, as the escalation clock would order it."""
    async with database.transaction() as tx:
        await escalations.advance(tx, [Struck([FIRST], 0, timedelta(hours=1))])


async def acknowledge(database: Database) -> None:
    async with database.transaction() as tx:
        await incidents.acknowledge(tx, FIRST, by="alice")


@pytest.mark.parametrize("also", [(), (resolved("f9", labels={"severity": "sev3"}),)], ids=["all fire", "one ends"])
async def test_of_those_that_open_an_incident_together_the_most_severe_is_paged(
    database: Database, also: tuple[Alert, ...]
) -> None:
    await tell(database, firing("f1", "sev3"), firing("f2", "sev1"), firing("f3", "sev3"), *also)

    async with database.connection() as connection:
        incident = await incidents.get(connection, FIRST)
    opened = await chain(database)
    assert (opened.severity, opened.policy, opened.is_due) == ("sev1", "on-call", True)
    assert (incident.alert.fingerprint, await count(database, "incidents")) == ("f2", 1)
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM episodes WHERE incident_id = 1") == 3


async def test_the_earliest_deadline_of_those_that_open_an_incident_together_counts(database: Database) -> None:
    """The more severe would wait for a fix, the lesser one would not."""
    patient = replace(OPENINGS["sev1"], first_page_in=timedelta(minutes=15))
    hasty = replace(OPENINGS["sev3"], first_page_in=timedelta())

    await file(
        database,
        firing("f1", "sev3"),
        firing("f2", "sev1"),
        opens=lambda told: hasty if told.labels["severity"] == "sev3" else patient,
    )

    opened = await chain(database)
    assert (opened.severity, opened.policy, opened.is_due) == ("sev1", "on-call", True)


@pytest.mark.parametrize("also", [(), (resolved("f9", labels={"severity": "sev3"}),)], ids=["it fires", "another ends"])
async def test_a_chain_that_has_not_begun_is_the_more_severe_alerts(
    database: Database, also: tuple[Alert, ...]
) -> None:
    await tell(database, firing("f1", "sev3"))
    await tell(database, firing("f2", "sev1"), *also)

    joined = await chain(database)
    assert (joined.severity, joined.policy, joined.is_due, joined.run) == ("sev1", "on-call", True, 1)
    assert "it is sev1 from now on, it was sev3: ServiceDown is more severe" in await told(database)


async def test_a_deadline_that_is_earlier_still_stays(database: Database) -> None:
    patient = replace(OPENINGS["sev1"], first_page_in=timedelta(hours=5))
    await tell(database, firing("f1", "sev3"))

    await file(database, firing("f2", "sev1"), opens=lambda _: patient)

    joined = await chain(database)
    assert joined.severity == "sev1"
    assert timedelta(hours=3) < joined.wait <= timedelta(hours=4)


async def test_who_was_paged_for_the_lesser_is_paged_anew_and_once(database: Database) -> None:
    await tell(database, firing("f1", "sev3"))
    await page(database)

    await tell(database, firing("f2", "sev1"))
    anew = await chain(database)
    await page(database)
    await tell(database, firing("f3", "sev1"))
    after = await chain(database)

    assert (anew.severity, anew.policy, anew.is_due, anew.run) == ("sev1", "on-call", True, 2)
    assert (after.is_due, after.run) == (False, 2)
    assert any(line.endswith("is more severe; people are paged anew") for line in await told(database))


async def test_who_has_the_lesser_has_not_the_more_severe(database: Database) -> None:
    await tell(database, firing("f1", "sev3"))
    await acknowledge(database)

    await tell(database, firing("f2", "sev1"))

    anew = await chain(database)
    assert (anew.severity, anew.status, anew.is_due, anew.run) == ("sev1", "triggered", True, 3)
    assert any(
        "which alice has acknowledged: ServiceDown is more severe; people are paged anew" in line
        for line in await told(database)
    )


@pytest.mark.parametrize("is_familiar", [True, False], ids=["its incident is familiar", "it is not"])
@pytest.mark.parametrize(("has", "joins"), [("sev1", "sev3"), ("sev1", "sev1"), ("sev3", "sev3")])
async def test_one_that_is_no_more_severe_changes_nothing_and_costs_no_more(
    database_address: str, has: str, joins: str, *, is_familiar: bool
) -> None:
    familiar = Familiar() if is_familiar else None
    statements: list[str] = []

    async def note(
        _connection: Any, _method: str, sql: str, _arguments: Any, go_on: Callable[[], Awaitable[Any]]
    ) -> Any:
        statements.append(sql)
        return await go_on()

    async with watched_database(database_address, note) as database:
        await tell(database, firing("f1", has), familiar=familiar)
        await page(database)
        await acknowledge(database)
        before = await chain(database)
        statements.clear()
        await tell(database, firing("f2", joins), familiar=familiar)
        assert len(statements) == 1
        after = await chain(database)

    assert (after.severity, after.policy, after.run, after.status) == (has, before.policy, 2, "acknowledged")
    assert not after.is_due


async def test_what_was_familiar_of_the_incident_before_is_not_relied_on(database: Database) -> None:
    """It was as severe; the one that is open now is not."""
    familiar = Familiar()
    await tell(database, firing("f1", "sev1"), familiar=familiar)
    async with database.transaction() as tx:
        await tx.execute("UPDATE incidents SET status = 'resolved'")
    await tell(database, firing("f2", "sev3"), familiar=familiar)

    await tell(database, firing("f3", "sev1"), familiar=familiar)

    assert (await chain(database)).severity == "sev1"


async def test_a_storm_of_which_one_is_more_severe_joins_whole(database: Database) -> None:
    await tell(database, firing("f1", "sev3"))

    await tell(database, *(firing(f"s{n}", "sev3") for n in range(20)), firing("f2", "sev1"))

    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM episodes WHERE incident_id = 1") == 22
    assert (await chain(database)).severity == "sev1"
