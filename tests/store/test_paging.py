"""Deadlines and messages: who is due, in what order, and that a message is one message."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from remediator.domain.errors import NotAllowed
from remediator.domain.ids import IncidentId, RuleName
from remediator.domain.notification import Notification, NotificationKind, Receipt
from remediator.domain.oncall import Contact
from remediator.store import deadlines, escalations, incidents, outbox, timeline
from remediator.store.database import Connection, Database
from remediator.store.escalations import Struck
from remediator.store.outbox import OutboxItem, Outgoing
from tests.fakes.watched import watched_database
from tests.store.facts import SEVERITY, claimed

MAIL, CHAT = Contact("email", "a@example.invalid"), Contact("chat", "")
LEASE = timedelta(seconds=30)


def message(incident: IncidentId, key: str = "1:1:0:alice") -> Outgoing:
    note = Notification(incident, NotificationKind.PAGE, key, "alice", "", "", "down", "sev1", "")
    return Outgoing(note, (MAIL, CHAT), RuleName("service-down"))


async def due(tx: Connection) -> list[IncidentId]:
    await tx.execute("UPDATE escalations SET due_at = now() WHERE due_at IS NOT NULL")
    return [number for alike in await escalations.claim_due(tx, limit=10) for number in alike.incidents]


async def test_an_acknowledgement_that_runs_out_starts_the_chain_again(database: Database) -> None:
    incident = await claimed(database)
    async with database.transaction() as tx:
        await escalations.advance(tx, [Struck([incident.id], step=0, next_in=timedelta(minutes=15))])
        await incidents.acknowledge(tx, incident.id, by="alice")
        await incidents.acknowledge(tx, incident.id, by="bob")
        held = await incidents.get(tx, incident.id)
        await tx.execute("UPDATE escalations SET due_at = now()")
        [again] = await escalations.claim_due(tx, limit=10)
        lifted = await incidents.get(tx, incident.id)

    assert held.acknowledged_by == "alice"
    assert (lifted.status, lifted.acknowledged_by) == ("triggered", "")
    assert (again.since_start, again.run, again.incidents) == (None, 2, [incident.id])


async def test_each_acknowledgement_holds_anew_and_the_first_name_counts(database: Database) -> None:
    """Whoever presses a moment before the first one runs out is told that the escalation has stopped."""
    incident = await claimed(database)
    async with database.transaction() as tx:
        await incidents.acknowledge(tx, incident.id, by="alice")
        await tx.execute("UPDATE escalations SET due_at = now() + interval '2 seconds'")
        await incidents.acknowledge(tx, incident.id, by="bob")
        held = await incidents.get(tx, incident.id)
        chain = await tx.fetchrow("SELECT due_at - now() AS due_in, run FROM escalations")
        told = [entry.message for entry in await timeline.of_incident(tx, incident.id)]

    assert (held.acknowledged_by, held.nudges) == ("alice", incident.nudges + 1)
    assert (chain["due_in"], chain["run"]) == (SEVERITY.acknowledged_for, 2)
    assert told[-2:] == ["acknowledged by alice", "acknowledged by bob too: it holds anew"]


async def test_whoever_acknowledges_what_has_run_out_has_it(database: Database) -> None:
    """The clock has not come by yet."""
    incident = await claimed(database)
    async with database.transaction() as tx:
        await incidents.acknowledge(tx, incident.id, by="alice")
        await tx.execute("UPDATE escalations SET due_at = now() - interval '1 second'")
        await incidents.acknowledge(tx, incident.id, by="bob")
        due = await escalations.claim_due(tx, limit=10)
        held = await incidents.get(tx, incident.id)

    assert (due, held.status, held.acknowledged_by) == ([], "acknowledged", "bob")


async def test_what_is_over_cannot_be_acknowledged(database: Database) -> None:
    incident = await claimed(database)
    async with database.transaction() as tx:
        await incidents.acknowledge(tx, incident.id, by="alice")
        await incidents.resolve(tx, incident.id, by="alice", note="")
        with pytest.raises(NotAllowed, match=r"is over \(resolved by alice\)"):
            await incidents.acknowledge(tx, incident.id, by="bob")
        over = await incidents.get(tx, incident.id)

        assert await due(tx) == []
    assert (over.status, over.acknowledged_by) == ("resolved", "alice")


async def test_a_resolved_incident_pages_nobody(database: Database) -> None:
    incident = await claimed(database)
    async with database.transaction() as tx:
        await incidents.resolve(tx, incident.id, by="alice", note="")
        assert await due(tx) == []


async def test_the_same_message_is_stored_once(database: Database) -> None:
    incident = await claimed(database)
    async with database.transaction() as tx:
        await outbox.enqueue(tx, [message(incident.id), message(incident.id)])
        await outbox.enqueue(tx, [message(incident.id)])
        assert len(await outbox.claim(tx, lease=LEASE, limit=10)) == 1


async def test_a_claimed_message_is_nobody_elses_until_its_lease_runs_out(database: Database) -> None:
    incident = await claimed(database)
    async with database.transaction() as tx:
        await outbox.enqueue(tx, [message(incident.id)])
        [item] = await outbox.claim(tx, lease=LEASE, limit=10)
        nobody = await outbox.claim(tx, lease=LEASE, limit=10)
        await tx.execute("UPDATE outbox SET lease_until = now() - interval '1 s'")
        [again] = await outbox.claim(tx, lease=LEASE, limit=10)
        await outbox.sent(tx, [(item, Receipt())])
        late = await outbox.arrived(tx, [incident.id])
        await outbox.sent(tx, [(again, Receipt())])
        [done] = await outbox.arrived(tx, [incident.id])

    assert (nobody, late, done.reach[0]) == ([], [], MAIL)


async def test_a_channel_that_is_full_is_passed_over_and_the_others_are_not(database: Database) -> None:
    incident = await claimed(database)
    by_chat = replace(message(incident.id, "by chat"), reach=(CHAT,))
    async with database.transaction() as tx:
        await outbox.enqueue(tx, [message(incident.id, f"by mail {n}") for n in range(20)])
        await outbox.enqueue(tx, [by_chat])
        items = await outbox.claim(tx, lease=LEASE, limit=2, passing_over=["email"])

    assert [item.notification.dedup_key for item in items] == ["by chat"]


async def test_rules_take_turns_and_pages_go_first(database: Database) -> None:
    incident = await claimed(database)
    storm = [message(incident.id, f"storm {n}") for n in range(10)]
    other = replace(message(incident.id, "other"), rule=RuleName("another"))
    review = replace(other, notification=replace(other.notification, kind=NotificationKind.REVIEW, dedup_key="review"))
    async with database.transaction() as tx:
        await outbox.enqueue(tx, [*storm, review, other])
        items = await outbox.claim(tx, lease=LEASE, limit=2)

    assert {item.notification.dedup_key for item in items} == {"storm 0", "other"}


async def test_the_next_deadline_is_known_before_it_strikes(database: Database) -> None:
    hour, minute = timedelta(hours=1), timedelta(minutes=1)
    await claimed(database)
    async with database.transaction() as tx:
        first = await escalations.next_due_in(tx, at_most=hour)
        before = await escalations.next_due_in(tx, at_most=minute)
        await tx.execute("UPDATE escalations SET due_at = 'infinity'")
        never = await escalations.next_due_in(tx, at_most=hour)

    assert minute < first <= 2 * minute
    assert (before, never) == (minute, hour)


async def test_a_channel_that_fails_gives_way_to_the_next_and_the_last_to_every_other(database: Database) -> None:
    incident = await claimed(database)
    async with database.transaction() as tx:
        await outbox.enqueue(tx, [message(incident.id)])
        [item] = await outbox.claim(tx, lease=LEASE, limit=10)
        await outbox.next_contact(tx, item, error="bounced")
        [second] = await outbox.claim(tx, lease=LEASE, limit=10)
        await outbox.next_contact(tx, second, error="gone")
        await outbox.enqueue_last_resort(tx, second, [(MAIL,), (CHAT,)])
        last = await outbox.claim(tx, lease=LEASE, limit=10)

    assert second.reach == (CHAT,)
    assert {one.reach for one in last} == {(MAIL,), (CHAT,)}
    assert all(one.is_last_resort for one in last)


def test_a_message_knows_where_it_goes() -> None:
    item = OutboxItem(1, 1, 0, (MAIL,), message(IncidentId(1)).notification)

    assert item.addressed == replace(item.notification, channel="email", address="a@example.invalid")


async def test_what_is_ordered_while_the_deadlines_are_read_ahead_is_among_them(database_address: str) -> None:
    """Else nobody would be paged, were the database lost right then."""
    async with Database.open(database_address, pool=2) as beside:
        incident = await claimed(beside)

        async def order(_connection: object, _method: str, _sql: str, _arguments: object, go_on: Any) -> Any:
            read = await go_on()
            async with beside.transaction() as tx:
                if await due(tx):
                    await outbox.enqueue(tx, [message(incident.id)])
                    await escalations.advance(tx, [Struck([incident.id], step=0, next_in=2 * deadlines.HORIZON)])
            return read

        async with watched_database(database_address, order) as database, database.connection() as connection:
            ahead = await deadlines.upcoming(connection, timedelta, at_most=10)

    assert ahead.all
