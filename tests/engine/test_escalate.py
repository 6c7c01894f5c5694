"""The escalation clock at work: one strike is one transaction, for however many are due."""

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from remediator.domain.briefing import briefing_on
from remediator.domain.escalation import LONGEST_WAIT, SHORTEST_REPEAT, Severity, due_now
from remediator.domain.ids import IncidentId
from remediator.domain.mode import Mode
from remediator.domain.notification import NotificationKind
from remediator.domain.oncall import Contact, Person, Roster, Schedule
from remediator.engine.bell import Bell
from remediator.engine.escalate import BATCH, Call, Escalator, order
from remediator.engine.links import Links
from remediator.engine.pages import PageWriter
from remediator.engine.right_of_way import RightOfWay
from remediator.metrics import Metrics
from remediator.rules.loader import load_rules
from remediator.store import escalations, incidents, outbox, timeline
from remediator.store.database import Connection, Database
from remediator.store.escalations import DueAlike
from tests.store.facts import LEASE, POLICY, SEVERITY, alert, claimed, file, opening
from tests.system.rules import write_rules

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAIL, CHAT = Contact("email", "a@example.invalid"), Contact("chat", "alice")
ROSTER = Roster({"alice": Person("alice", "Alice", (MAIL, CHAT))}, {}, frozenset({"chat", "email"}))


def due_alike(*, severity: Severity = SEVERITY, mode: Mode = Mode.ACT, since: timedelta | None = None) -> DueAlike:
    return DueAlike(POLICY, severity, mode, since, 1, [IncidentId(7)])


@pytest.fixture
def escalator(database: Database, tmp_path: Path) -> Escalator:
    rulebook = load_rules(write_rules(tmp_path)).rulebook
    writer = PageWriter("https://remediator.example.invalid", Links(b"secret", lambda: NOW))
    return Escalator(
        database, lambda: rulebook, writer, Bell(), Bell(), RightOfWay(), timedelta(seconds=1), Metrics(), "console"
    )


@pytest.mark.parametrize(
    ("severity", "calls"),
    [
        pytest.param(SEVERITY, (Call("alice", "alice", (MAIL, CHAT)),), id="one contact after the other"),
        pytest.param(
            dataclasses.replace(SEVERITY, urgent=True),
            (Call("alice", "alice:email", (MAIL, CHAT)), Call("alice", "alice:chat", (CHAT, MAIL))),
            id="urgent: every contact at once",
        ),
    ],
)
def test_a_person_is_called_by_their_contacts(severity: Severity, calls: tuple[Call, ...]) -> None:
    assert order(due_alike(severity=severity), ROSTER, NOW, review_channel="").calls == calls


def test_a_step_that_reaches_nobody_goes_on_to_the_next_and_says_so() -> None:
    ordered = order(due_alike(since=timedelta(minutes=20)), ROSTER, NOW, review_channel="")

    assert [call.recipient for call in ordered.calls] == ["chat", "email"]
    assert ordered.entries[0].message == "nobody is reachable as 'bob': going on to the next step at once"
    assert (ordered.step, ordered.next_in) == (1, timedelta(minutes=10))


def test_a_schedule_that_cannot_be_asked_is_passed_over_like_one_that_nobody_is_on() -> None:
    """Its time zone cannot be read, say: that is first done when it is asked for somebody."""
    odd = Schedule("alice", ("alice",), datetime(2026, 1, 1), timezone="Nowhere/At_All")
    roster = dataclasses.replace(ROSTER, schedules={"alice": odd})

    ordered = order(due_alike(), roster, NOW, review_channel="")

    assert [call.recipient for call in ordered.calls] == ["chat", "email"]
    assert ordered.entries[0].message == "nobody is reachable as 'alice': going on to the next step at once"


def test_observe_mode_tells_the_review_channel_alone() -> None:
    ordered = order(due_alike(mode=Mode.OBSERVE), ROSTER, NOW, review_channel="chat")

    assert (ordered.kind, ordered.calls) == (NotificationKind.REVIEW, (Call("chat", "review", (Contact("chat", ""),)),))
    assert [entry.message for entry in ordered.entries] == ["would page alice (observe mode)"]


async def test_a_deadline_that_strikes_between_look_and_wait_is_not_slept_through(
    database: Database, escalator: Escalator, monkeypatch: pytest.MonkeyPatch
) -> None:
    await claimed(database)
    async with database.transaction() as tx:
        await tx.execute("UPDATE escalations SET due_at = now() + interval '300 milliseconds'")
    claim_due = escalations.claim_due

    async def a_moment_too_early(tx: Connection, **how: Any) -> list[DueAlike]:
        due = await claim_due(tx, **how)
        if not due:
            await tx.execute("SELECT pg_sleep_until((SELECT due_at FROM escalations))")
        return due

    monkeypatch.setattr(escalations, "claim_due", a_moment_too_early)
    running = asyncio.create_task(dataclasses.replace(escalator, poll=timedelta(minutes=5)).run())

    await asyncio.wait_for(escalator.courier_bell.wait(timedelta(minutes=5)), timeout=10)

    running.cancel()
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM outbox") == 1


async def test_a_strike_orders_the_page_tells_of_it_and_sets_the_next_deadline(
    database: Database, escalator: Escalator
) -> None:
    incident = await claimed(database)
    async with database.transaction() as tx:
        await tx.execute("UPDATE escalations SET due_at = now()")

    assert await escalator.strike() == 1
    assert await escalator.strike() == 0

    async with database.connection() as connection:
        [item] = await outbox.claim(connection, lease=LEASE, limit=10)
        told = await timeline.of_incident(connection, incident.id)
        following = await escalations.next_due_in(connection, at_most=timedelta(hours=1))
    assert timedelta(minutes=14) < following <= POLICY.steps[0].wait
    assert item.notification.dedup_key == f"{incident.id}:1:0:alice"
    assert item.notification.body == f"incident {incident.id}, severity sev1, rule service-down"
    assert item.notification.incident_url == f"https://remediator.example.invalid/incidents/{incident.id}"
    assert item.about == briefing_on(incident)
    assert told[-1].message == "paging alice (console)"


async def test_a_crowd_is_struck_to_the_last_and_each_once(database: Database, escalator: Escalator) -> None:
    crowd = 2 * BATCH + 100
    now = replace(opening(), first_page_in=timedelta())
    await file(database, *(alert(f"f{n}") for n in range(crowd)), opens=lambda a: replace(now, run_key=a.fingerprint))

    struck = await escalator.strike()

    async with database.connection() as connection:
        pages = await connection.fetchval("SELECT count(DISTINCT incident_id) FROM outbox WHERE kind = 'page'")
        told = await connection.fetchval("SELECT count(*) FROM timeline WHERE message LIKE 'paging alice%'")
    assert (struck, pages, told) == (crowd, crowd, crowd)


async def test_pages_of_an_incident_that_is_deleted_go_with_it(database: Database, escalator: Escalator) -> None:
    incident = await claimed(database)
    async with database.transaction() as tx:
        await tx.execute("UPDATE escalations SET due_at = now()")
    await escalator.strike()
    async with database.transaction() as tx:
        await incidents.resolve(tx, incident.id, by="alice", note="")
        await tx.execute("DELETE FROM episodes")
        await tx.execute("DELETE FROM incidents")

        assert await tx.fetchval("SELECT count(*) FROM outbox") == 0


async def test_one_that_cannot_be_paged_for_keeps_nobody_elses_page_back(
    database: Database, escalator: Escalator
) -> None:
    """Its severity was stored by a release that knew more. Every channel hears of it, once: silence is never right."""
    at_once = replace(opening(), first_page_in=timedelta())
    names = ("one", "another", "unreadable", "a third")
    for name in names:
        await file(database, alert(name), opens=lambda a: replace(at_once, run_key=a.fingerprint))
    async with database.transaction() as tx:
        await tx.execute("UPDATE escalations SET due_at = now()")
        await tx.execute(
            """UPDATE escalations SET severity = '{}'
               WHERE incident_id = (SELECT id FROM incidents WHERE run_key = 'unreadable')"""
        )

    await escalator.strike()
    assert await escalator.strike() == 0, "put off, not tried round and round"
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT min(due_at) > now() FROM escalations")
        await connection.execute("UPDATE escalations SET due_at = now() WHERE severity = '{}'")
    await escalator.strike()

    async with database.connection() as connection:
        rows = await connection.fetch("SELECT run_key, recipient FROM outbox JOIN incidents i ON i.id = incident_id")
    paged = sorted((row["run_key"], row["recipient"]) for row in rows)
    assert paged == [("a third", "alice"), ("another", "alice"), ("one", "alice"), ("unreadable", "console")]


async def test_an_acknowledgement_that_runs_out_waits_for_whoever_changes_its_incident_and_holds_nobody_up(
    database: Database, escalator: Escalator
) -> None:
    incident = await claimed(database)
    async with database.transaction() as tx:
        await incidents.acknowledge(tx, incident.id, by="alice")
        await tx.execute("UPDATE escalations SET due_at = now()")

    async with database.transaction() as tx:
        await tx.execute("SELECT FROM incidents FOR NO KEY UPDATE")
        meanwhile = await escalator.strike()

    assert (meanwhile, await escalator.strike()) == (0, 1)


@pytest.mark.parametrize("repeat_every", [timedelta(), timedelta(days=999_999)])
def test_a_policy_that_was_stored_without_bounds_is_read_within_them(repeat_every: timedelta) -> None:
    due = due_now(dataclasses.replace(POLICY, repeat_every=repeat_every), timedelta(hours=1))

    assert SHORTEST_REPEAT <= due.next_in <= LONGEST_WAIT
