"""The courier at work: what a channel does to the messages that wait for it, and to those of its neighbours."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import asyncpg
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from remediator.clients.http import open_http
from remediator.domain.briefing import Briefing
from remediator.domain.errors import Temporary
from remediator.domain.ids import IncidentId, RuleName, RuleVersion
from remediator.domain.incident import Incident, Status
from remediator.domain.notification import LEFT_BEHIND, Notification, NotificationKind, Receipt
from remediator.domain.oncall import Contact
from remediator.engine import right_of_way
from remediator.engine.bell import Bell
from remediator.engine.clock import DatabaseClock
from remediator.engine.courier import CLAIMED_AT_ONCE, Courier, Outcome
from remediator.engine.group_commit import GroupCommit
from remediator.engine.links import Links
from remediator.engine.pages import PageWriter
from remediator.engine.respond import Responder
from remediator.engine.right_of_way import RightOfWay
from remediator.metrics import Metrics
from remediator.notifiers.webhook import Webhook
from remediator.rules.loader import load_rules
from remediator.store import health, outbox, rule_versions, timeline
from remediator.store.database import Connection, Database
from remediator.store.outbox import OutboxItem, Outgoing
from remediator.toolbox import Messengers
from tests.cluster.eventually import eventually
from tests.store.facts import claimed, until_they_wait
from tests.system.rules import write_rules

SECOND = timedelta(seconds=1)
CONSOLE, BUSY, GONE = Contact("console", ""), Contact("busy", ""), Contact("no-such-channel", "")
A_WHILE = timedelta(minutes=3)
"""After which a channel that no replica knows is taken to be gone."""
WRITER = PageWriter("https://remediator.example.invalid", Links(b"secret", DatabaseClock()))


async def nothing() -> None:
    """Happens."""


@dataclass
class Channel:
    """Takes nothing for now, and does not say for how long, unless told otherwise."""

    url: str = ""
    status: int | None = 503
    """None: hangs up."""
    retry_after: str = ""
    meanwhile: Callable[[], Awaitable[object]] = nothing
    """While it is asked."""
    told: list[Notification] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.told.append(msgspec.json.decode(await request.read(), type=Notification))
        await self.meanwhile()
        if self.status is None and request.transport is not None:
            request.transport.abort()
        asking = {"Retry-After": self.retry_after} if self.retry_after else {}
        return web.Response(status=self.status or 200, headers=asking)


@pytest.fixture
async def busy() -> AsyncIterator[Channel]:
    busy = Channel()
    app = web.Application()
    app.router.add_post("/page", busy.answer)
    async with TestServer(app) as server:
        busy.url = str(server.make_url("/page"))
        yield busy


@pytest.fixture
def ordering() -> RightOfWay:
    return RightOfWay()


@pytest.fixture
def beside() -> tuple[str, ...]:
    """Channels that share the fate of the busy one."""
    return ()


@pytest.fixture
async def courier(
    database: Database, tmp_path: Path, busy: Channel, beside: tuple[str, ...], ordering: RightOfWay
) -> AsyncIterator[Courier]:
    channels = f"""
channels:
  console: {{ use: console }}
  busy: {{ use: webhook, url: "{busy.url}", secret: bench }}
"""
    channels += "".join(f'  {name}: {{ use: webhook, url: "{busy.url}", secret: bench }}\n' for name in beside)
    people = """
people:
  alice:
    name: Alice
    reach:
      - { channel: busy, address: alice@example.invalid }
"""
    rulebook = load_rules(write_rules(tmp_path, oncall__channels=channels, oncall__people=people)).rulebook
    async with open_http(private_networks=True) as http:
        messengers = Messengers(http, secrets={"bench": "signing"})
        yield Courier(
            database,
            lambda: rulebook,
            messengers,
            WRITER,
            bell=Bell(),
            after_escalator=ordering,
            poll=timedelta(seconds=1),
            metrics=Metrics(),
        )


@pytest.fixture
def people(database: Database) -> Responder:
    return Responder(database, WRITER, Bell())


def page(incident: Incident, key: str, *reach: Contact, kind: NotificationKind = NotificationKind.PAGE) -> Outgoing:
    note = Notification(incident.id, kind, key, "alice", "", "", "down", "sev1", "as ordered")
    return Outgoing(note, reach, incident.rule)


async def order(database: Database, *messages: Outgoing, ago: timedelta = timedelta()) -> None:
    async with database.transaction() as tx:
        await outbox.enqueue(tx, messages)
        await tx.execute("UPDATE outbox SET created_at = created_at - $1::interval", ago)


async def states(database: Database) -> dict[str, str]:
    async with database.connection() as connection:
        return {row["dedup_key"]: row["state"] for row in await connection.fetch("SELECT dedup_key, state FROM outbox")}


async def told(database: Database, incident: IncidentId) -> list[str]:
    async with database.connection() as connection:
        return [entry.message for entry in await timeline.of_incident(connection, incident)]


async def test_what_was_sent_is_recorded_and_told(database: Database, courier: Courier) -> None:
    incident = await claimed(database)
    await order(database, *(page(incident, f"key-{n}", CONSOLE) for n in range(3)))

    assert await courier.deliver() == 3

    assert await states(database) == {"key-0": "sent", "key-1": "sent", "key-2": "sent"}
    assert (await told(database, incident.id))[-3:] == ["page sent to alice by console"] * 3


async def test_one_that_cannot_be_read_keeps_no_other_back(database: Database, courier: Courier) -> None:
    """A later release wrote it, or a hand."""
    incident = await claimed(database)
    await order(database, page(incident, "unreadable", CONSOLE), page(incident, "sound", CONSOLE))
    async with database.transaction() as tx:
        await tx.execute("UPDATE outbox SET notification = '{}' WHERE dedup_key = 'unreadable'")

    await courier.deliver()

    assert await states(database) == {"unreadable": "queued", "sound": "sent"}


async def test_a_page_says_what_is_known_when_it_is_sent(database: Database, courier: Courier, busy: Channel) -> None:
    incident = await claimed(database)
    await order(database, page(incident, "1:1:0:alice", BUSY))
    async with database.transaction() as tx:
        await tx.execute(
            """UPDATE incidents SET alert = jsonb_set(alert, '{annotations}', '{"summary": "it is down"}'),
                   progress = '{"findings": {"pods": {"ok": true, "summary": "2 of 3 failing"}},
                                "last_word": "held"}'"""
        )
    await courier.deliver()
    async with database.transaction() as tx:
        await tx.execute("""UPDATE incidents SET progress = '{"last_word": "no other fix applies"}'""")
    await next_try(database)
    await courier.deliver()

    first, second = busy.told
    assert first.body.splitlines() == [
        f"incident {incident.id}, severity sev1, rule service-down",
        "target: deployment/prod/backend",
        "pods: 2 of 3 failing",
        "automation: held",
        "it is down",
    ]
    assert second.body.splitlines()[2:] == ["automation: no other fix applies", "it is down"]
    assert second.acknowledge_url.startswith(f"https://remediator.example.invalid/incidents/{incident.id}/acknowledge")
    assert {note.dedup_key for note in busy.told} == {"1:1:0:alice"}


async def began_with(database: Database, document: Mapping[str, object]) -> None:
    """What every incident's rule said, which is no more in force."""
    async with database.transaction() as tx:
        await rule_versions.save(tx, [(RuleVersion("v1"), RuleName("service-down"), document)])


async def test_a_page_ends_with_what_the_rule_said_when_its_incident_began(
    database: Database, courier: Courier, busy: Channel
) -> None:
    links = {f"Dashboard {n}": f"https://grafana.example.invalid/d/{n}" for n in range(7)}
    await began_with(database, {"summary": "The health check\nhas failed.", "links": links})
    incident = await claimed(database)
    await order(database, page(incident, "1:1:0:alice", BUSY))

    await courier.deliver()

    [note] = busy.told
    opening_line = f"incident {incident.id}, severity sev1, rule service-down: The health check has failed."
    assert note.body.splitlines()[0] == opening_line
    assert list(note.links.items()) == list(links.items())[:5]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param("DELETE FROM rule_versions", id="gone"),
        pytest.param("UPDATE rule_versions SET document = '[]'", id="unreadable"),
        pytest.param("DROP TABLE rule_versions", id="no such table"),
    ],
)
async def test_a_rule_that_cannot_be_read_keeps_no_page_back(
    database: Database, courier: Courier, busy: Channel, spoil: str
) -> None:
    await began_with(database, {"summary": "The health check has failed."})
    incident = await claimed(database)
    await order(database, page(incident, "1:1:0:alice", BUSY))
    async with database.transaction() as tx:
        await tx.execute(spoil)

    await courier.deliver()

    [note] = busy.told
    assert note.body.splitlines()[0] == f"incident {incident.id}, severity sev1, rule service-down"
    assert note.acknowledge_url


async def test_a_dry_run_says_what_its_page_would_have_said(
    database: Database, courier: Courier, busy: Channel
) -> None:
    incident = await claimed(database)
    await order(database, page(incident, "1:1:0:review", BUSY, kind=NotificationKind.REVIEW))

    await courier.deliver()

    [note] = busy.told
    assert (note.title, note.acknowledge_url) == (f"[dry run] {incident.title}", "")
    assert "target: deployment/prod/backend" in note.body


@dataclass(frozen=True)
class Stumbling(PageWriter):
    """A bug."""

    def page(self, about: Briefing, *, recipient: str, dedup_key: str, kind: NotificationKind) -> Notification:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("key", "progress", "writer", "has_link"),
    [
        pytest.param("1:1:0:alice", "[]", WRITER, True, id="its incident cannot be read"),
        pytest.param("1:1:0:alice", "{}", Stumbling(WRITER.public_url, WRITER.links), True, id="it cannot be written"),
        pytest.param("1:1:0:alice", "{}", None, False, id="nothing can be written"),
        pytest.param(f"1:{LEFT_BEHIND}:7:alice", "{}", WRITER, False, id="it has words of its own"),
    ],
)
async def test_a_page_goes_out_as_it_was_ordered_where_it_cannot_or_must_not_be_written_anew(
    database: Database,
    courier: Courier,
    busy: Channel,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    progress: str,
    writer: PageWriter | None,
    *,
    has_link: bool,
) -> None:
    """Whoever has a page of a chain can acknowledge it."""
    monkeypatch.setattr(courier, "_writer", writer)
    incident = await claimed(database)
    await order(database, page(incident, key, BUSY))
    async with database.transaction() as tx:
        await tx.execute("UPDATE incidents SET progress = $1::text::jsonb", progress)

    await courier.deliver()

    [note] = busy.told
    assert (note.title, note.body, note.recipient) == ("down", "as ordered", "alice")
    link = f"https://remediator.example.invalid/incidents/{incident.id}/acknowledge?token="
    assert note.acknowledge_url.startswith(link) if has_link else note.acknowledge_url == ""


async def test_one_that_fails_does_not_touch_those_it_is_recorded_with(database: Database, courier: Courier) -> None:
    incident = await claimed(database)
    await order(database, page(incident, "well", CONSOLE), page(incident, "falls", GONE, CONSOLE), ago=A_WHILE)

    await courier.deliver()
    after_one = await states(database)
    await courier.deliver()

    assert after_one == {"well": "sent", "falls": "queued"}
    assert await states(database) == {"well": "sent", "falls": "sent"}


async def test_a_bug_in_recording_one_keeps_no_other_back(
    database: Database, courier: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = outbox.sent

    async def stumbling(tx: Connection, delivered: Sequence[tuple[OutboxItem, Receipt]]) -> None:
        if any(item.notification.dedup_key == "odd" for item, _ in delivered):
            raise ZeroDivisionError
        await sent(tx, delivered)

    monkeypatch.setattr(outbox, "sent", stumbling)
    incident = await claimed(database)
    await order(database, page(incident, "odd", CONSOLE), page(incident, "sound", CONSOLE))

    assert await courier.deliver() == 2

    assert await states(database) == {"odd": "queued", "sound": "sent"}


def losing(times: int, error: Exception) -> Callable[[], None]:
    left = [error] * times

    def lose() -> None:
        if left:
            raise left.pop()

    return lose


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(asyncpg.DeadlockDetectedError("deadlock detected"), id="a deadlock's victim"),
        pytest.param(ConnectionResetError("reset by peer"), id="a connection that is gone"),
    ],
)
@pytest.mark.parametrize("status", [200, 400], ids=["sent", "not sent"])
async def test_what_became_of_a_page_is_recorded_where_it_failed_only_once(
    database: Database,
    courier: Courier,
    busy: Channel,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
) -> None:
    """When its lease has run out it is sent again."""
    hold, lose = outbox.hold, losing(1, error)

    async def stumbling(tx: Connection, items: Sequence[OutboxItem]) -> dict[int, Status]:
        held = await hold(tx, items)
        lose()
        return held

    monkeypatch.setattr(outbox, "hold", stumbling)
    monkeypatch.setattr(health, "LOOK_AGAIN", timedelta())
    incident = await claimed(database)
    await order(database, page(incident, "once", BUSY, CONSOLE))
    busy.status = status

    await courier.deliver()
    while await courier.deliver():
        pass

    assert await states(database) == {"once": "sent"}
    assert len(busy.told) == 1


async def test_what_is_recorded_and_not_confirmed_is_told_once(
    database: Database, courier: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit, lose = GroupCommit.submit, losing(2, Temporary("reset", system="database", operation="commit"))

    async def without_an_answer(records: GroupCommit[Outcome, None], outcome: Outcome) -> None:
        await submit(records, outcome)
        lose()

    monkeypatch.setattr(GroupCommit, "submit", without_an_answer)
    monkeypatch.setattr(health, "LOOK_AGAIN", timedelta())
    incident = await claimed(database)
    await order(database, page(incident, "well", CONSOLE), page(incident, "falls", GONE, CONSOLE), ago=A_WHILE)

    await courier.deliver()

    told_of = [message for message in await told(database, incident.id) if "console" in message]
    assert sorted(told_of) == [
        "no-such-channel did not reach alice: there is no channel 'no-such-channel' any more; next: console",
        "page sent to alice by console",
    ]


async def test_what_cannot_be_recorded_while_the_lease_lasts_is_left_to_the_next(
    database: Database, courier: Courier, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def lost(tx: Connection, items: Sequence[OutboxItem]) -> dict[int, Status]:
        raise ConnectionResetError

    monkeypatch.setattr(outbox, "hold", lost)
    monkeypatch.setattr("remediator.engine.courier.LEASE", timedelta())
    incident = await claimed(database)
    await order(database, page(incident, "once", CONSOLE))

    await courier.deliver()

    assert await states(database) == {"once": "queued"}


async def test_a_channel_that_is_busy_is_tried_again_later(database: Database, courier: Courier) -> None:
    incident = await claimed(database)
    await order(database, page(incident, "later", BUSY, CONSOLE))

    await courier.deliver()

    assert await states(database) == {"later": "queued"}
    assert await courier.deliver() == 0, "its time has not come"


@pytest.mark.parametrize(("asked", "at_least"), [("0", 2), ("20", 19)], ids=["in no time", "after our own pause"])
async def test_a_channel_may_ask_for_a_longer_pause_and_not_for_a_shorter_one(
    database: Database, courier: Courier, busy: Channel, asked: str, at_least: float
) -> None:
    incident = await claimed(database)
    await order(database, page(incident, "later", BUSY, CONSOLE))
    busy.retry_after = asked

    await courier.deliver()

    assert (await next_try(database) or timedelta()).total_seconds() > at_least


async def test_no_more_are_claimed_at_once_than_there_is_room_for(database: Database, courier: Courier) -> None:
    incident = await claimed(database)
    await order(database, *(page(incident, f"key-{n}", CONSOLE) for n in range(CLAIMED_AT_ONCE + 1)))

    assert (await courier.deliver(), await courier.deliver()) == (CLAIMED_AT_ONCE, 1)


@pytest.mark.parametrize("beside", [("hung", "lame")], ids=["three of them"])
async def test_however_many_channels_hang_another_sends_at_once(
    database: Database, courier: Courier, busy: Channel, beside: tuple[str, ...]
) -> None:
    incident = await claimed(database)
    for name in ("busy", *beside):
        await order(database, *(page(incident, f"{name}-{n}", Contact(name, "")) for n in range(50)))
    await order(database, page(incident, "urgent", CONSOLE))
    answered = asyncio.Event()
    busy.status, busy.meanwhile = 200, answered.wait

    running = asyncio.create_task(courier.run())
    try:
        await eventually(lambda: is_sent(database, "urgent"), within=5)
        assert "sent" not in {state for key, state in (await states(database)).items() if key != "urgent"}
    finally:
        answered.set()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("kind", "pages_everybody"),
    [(NotificationKind.PAGE, True), (NotificationKind.REVIEW, False), (NotificationKind.RESOLVED, False)],
)
async def test_only_a_page_that_reaches_nobody_goes_to_every_channel(
    database: Database, courier: Courier, kind: NotificationKind, *, pages_everybody: bool
) -> None:
    incident = await claimed(database)
    await order(database, page(incident, "lost", GONE, kind=kind), ago=A_WHILE)

    await courier.deliver()

    everybody = {"lost:busy::last-resort": "queued", "lost:console::last-resort": "queued"} if pages_everybody else {}
    assert await states(database) == {"lost": "failed"} | everybody


@pytest.mark.parametrize(
    ("contact", "to"),
    [
        pytest.param(Contact("busy", "alice@example.invalid"), ["alice@example.invalid"], id="an address of theirs"),
        pytest.param(Contact("busy", "old"), ["alice@example.invalid", "old"], id="one that is no longer theirs"),
    ],
)
async def test_where_no_channel_is_left_people_are_tried_at_their_own_addresses(
    database: Database, courier: Courier, busy: Channel, contact: Contact, to: list[str]
) -> None:
    """Mail, and Slack as most have it, reach nobody without one."""
    incident = await claimed(database)
    await order(database, page(incident, "lost", contact))
    busy.status = 400
    await courier.deliver()
    busy.told.clear()

    while await courier.deliver():
        pass

    assert [note.address for note in busy.told] == to
    assert (await states(database))["lost:console::last-resort"] == "sent"


@pytest.mark.parametrize(
    ("status", "age", "wait"),
    [
        pytest.param(503, timedelta(minutes=19), timedelta(seconds=30), id="often at first"),
        pytest.param(503, timedelta(hours=23), timedelta(minutes=5), id="for a day"),
        pytest.param(None, timedelta(minutes=19), timedelta(seconds=30), id="it may have arrived"),
        pytest.param(None, timedelta(minutes=21), None, id="it has arrived, most likely"),
        pytest.param(400, timedelta(), None, id="it never will"),
    ],
)
async def test_that_it_is_over_is_tried_by_the_last_contact_as_long_as_it_may_work(
    database: Database, courier: Courier, busy: Channel, status: int | None, age: timedelta, wait: timedelta | None
) -> None:
    """Else the page is the last word."""
    incident = await claimed(database)
    await order(database, page(incident, "1:resolved:alice", GONE, BUSY, kind=NotificationKind.RESOLVED), ago=A_WHILE)
    await courier.deliver()
    async with database.transaction() as tx:
        await tx.execute("UPDATE outbox SET created_at = now() - $1::interval, attempts = 10", age)

    busy.status = status
    await courier.deliver()

    found = await next_try(database)
    assert (found and round(found / SECOND, -1) * SECOND) == wait


@pytest.mark.parametrize(
    ("age", "found"),
    [
        pytest.param(timedelta(seconds=100), ("queued", 0), id="another replica has newer rules perhaps"),
        pytest.param(timedelta(seconds=140), ("failed", 0), id="none has by now"),
    ],
)
async def test_a_channel_that_is_not_known_here_may_be_known_elsewhere(
    database: Database, courier: Courier, age: timedelta, found: tuple[str, int]
) -> None:
    """And that was no try of it."""
    incident = await claimed(database)
    await order(database, page(incident, "lost", GONE), ago=age)

    await courier.deliver()

    async with database.connection() as connection:
        row = await connection.fetchrow("SELECT state, attempts FROM outbox WHERE dedup_key = 'lost'")
    assert tuple(row) == found
    assert await courier.deliver() == (2 if found[0] == "failed" else 0), "some seconds for whoever knows it"


async def test_a_thawed_replica_that_could_not_send_changes_nothing_of_what_another_has_sent(
    database: Database, courier: Courier, busy: Channel
) -> None:
    async def another_sends_it() -> None:
        async with database.connection() as connection:
            await connection.execute("UPDATE outbox SET lease_until = now() - interval '1 second'")
            [item] = await outbox.claim(connection, lease=timedelta(seconds=30), limit=1)
            await outbox.sent(connection, [(item, Receipt())])

    incident = await claimed(database)
    await order(database, page(incident, "once", BUSY))
    busy.status, busy.meanwhile = 400, another_sends_it

    await courier.deliver()

    assert await states(database) == {"once": "sent"}
    assert not [message for message in await told(database, incident.id) if "did not reach" in message]


async def stumble(notifier: Webhook, notification: Notification, tools: Messengers) -> Receipt:
    raise RuntimeError("unable to perform operation on a transport that is closed")


@pytest.mark.parametrize(
    ("age", "wait"),
    [
        pytest.param(timedelta(minutes=19), timedelta(seconds=30), id="often at first"),
        pytest.param(timedelta(minutes=21), timedelta(minutes=5), id="now and then later"),
        pytest.param(timedelta(hours=23), timedelta(minutes=5), id="for a day"),
        pytest.param(timedelta(hours=25), None, id="and no longer"),
    ],
)
@pytest.mark.parametrize(
    ("status", "stumbles"),
    [
        pytest.param(None, False, id="it hangs up"),
        pytest.param(503, False, id="it asks to be tried at once"),
        pytest.param(200, True, id="its library stumbles"),
    ],
)
async def test_where_no_channel_is_left_each_is_tried_as_long_as_it_may_work(
    database: Database,
    courier: Courier,
    busy: Channel,
    monkeypatch: pytest.MonkeyPatch,
    status: int | None,
    stumbles: bool,
    age: timedelta,
    wait: timedelta | None,
) -> None:
    """No chain repeats it, perhaps, or tomorrow."""
    incident = await claimed(database)
    await order(database, page(incident, "lost", GONE), ago=A_WHILE)
    await courier.deliver()
    async with database.transaction() as tx:
        await tx.execute("UPDATE outbox SET created_at = now() - $1::interval, attempts = 10000", age)

    busy.status, busy.retry_after = status, "0"
    if stumbles:
        monkeypatch.setattr(Webhook, "send", stumble)
    await courier.deliver()

    found = await next_try(database)
    assert (found and round(found / SECOND, -1) * SECOND) == wait
    assert (await states(database))["lost:busy::last-resort"] == ("queued" if wait else "failed")


async def test_where_no_channel_is_left_a_no_is_the_end(database: Database, courier: Courier, busy: Channel) -> None:
    incident = await claimed(database)
    await order(database, page(incident, "lost", GONE), ago=A_WHILE)
    await courier.deliver()
    busy.status = 400

    await courier.deliver()

    assert (await states(database))["lost:busy::last-resort"] == "failed"


async def next_try(database: Database) -> timedelta | None:
    """In how long; makes it now."""
    async with database.connection() as connection:
        wait: timedelta | None = await connection.fetchval("SELECT max(due_at) - now() FROM outbox")
        await connection.execute("UPDATE outbox SET due_at = now() - interval '1 second' WHERE due_at IS NOT NULL")
    return wait


async def test_what_a_crowd_of_deadlines_has_ordered_is_sent_when_all_of_it_is(
    database: Database, courier: Courier, ordering: RightOfWay, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(right_of_way, "MOST_SECONDS", 60)
    incident = await claimed(database)
    await order(database, page(incident, "of a crowd", CONSOLE))

    with ordering.taken():
        running = asyncio.create_task(courier.run())
        async with database.connection() as connection:
            await connection.execute("SELECT pg_sleep(0.2)")
            untouched = await connection.fetchval("SELECT lease_until IS NULL AND state = 'queued' FROM outbox")
    await eventually(lambda: so_far(database, {"of a crowd": "sent"}), within=10)

    assert untouched
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def is_sent(database: Database, key: str) -> bool:
    return (await states(database))[key] == "sent"


async def so_far(database: Database, expected: dict[str, str]) -> bool:
    return await states(database) == expected


async def test_a_stop_lets_arrive_what_is_on_its_way(database: Database, courier: Courier, busy: Channel) -> None:
    incident = await claimed(database)
    await order(database, page(incident, "under way", BUSY))
    sending, arrived = asyncio.Event(), asyncio.Event()

    async def slowly() -> None:
        sending.set()
        await arrived.wait()

    busy.status, busy.meanwhile = 200, slowly
    running = asyncio.create_task(courier.run())
    await sending.wait()

    running.cancel()
    await asyncio.sleep(0)
    arrived.set()
    await asyncio.gather(running, return_exceptions=True)

    assert await states(database) == {"under way": "sent"}


async def test_a_page_that_arrives_after_the_end_is_followed_by_a_notice_of_its_own(
    database: Database, courier: Courier, busy: Channel, people: Responder
) -> None:
    incident = await claimed(database)
    await order(database, page(incident, "early", CONSOLE))
    await courier.deliver()
    await order(database, page(incident, "late", BUSY))
    busy.status, busy.meanwhile = 200, lambda: people.resolve(incident.id, by="bob")

    await courier.deliver()
    recorded = await states(database)
    while await courier.deliver():
        pass

    told = f"{incident.id}:resolved:alice"
    assert recorded == {"early": "sent", told: "queued", "late": "sent", "late:resolved": "queued"}
    assert await states(database) == {"early": "sent", told: "sent", "late": "sent", "late:resolved": "sent"}


@pytest.mark.parametrize(
    ("reach", "meanwhile", "told"),
    [
        pytest.param((BUSY,), Responder.resolve, "perhaps:resolved", id="over by then"),
        pytest.param((BUSY,), Responder.acknowledge, "1:resolved:alice", id="acknowledged by then"),
        pytest.param((BUSY, CONSOLE), None, "1:resolved:alice", id="to be sent by the next channel"),
        pytest.param((BUSY,), None, "1:resolved:alice", id="no channel left"),
    ],
)
async def test_whoever_may_have_got_a_page_that_was_given_up_hears_the_end(
    database: Database,
    courier: Courier,
    busy: Channel,
    people: Responder,
    reach: tuple[Contact, ...],
    meanwhile: Callable[..., Awaitable[object]] | None,
    told: str,
) -> None:
    """It was sent, and no answer came."""
    incident = await claimed(database)
    await order(database, page(incident, "perhaps", *reach))
    busy.status = None
    if meanwhile is not None:
        busy.meanwhile = lambda: meanwhile(people, incident.id, by="bob")
    await courier.deliver()
    busy.status, busy.meanwhile = 200, nothing

    await people.resolve(incident.id, by="bob")
    await courier.deliver()

    found = await states(database)
    assert (found["perhaps"], found[told]) == ("failed", "sent")
    assert [note.kind for note in busy.told] == [NotificationKind.PAGE, NotificationKind.RESOLVED]


async def test_who_surely_got_a_page_hears_the_end_by_that_channel_and_once(
    database: Database, courier: Courier, busy: Channel, people: Responder
) -> None:
    incident = await claimed(database)
    await order(database, page(incident, "surely", CONSOLE))
    await courier.deliver()
    await order(database, page(incident, "perhaps", BUSY))
    busy.status = None
    await courier.deliver()

    await people.resolve(incident.id, by="bob")
    while await courier.deliver():
        pass

    resolved = {key for key, state in (await states(database)).items() if "resolved" in key and state == "sent"}
    assert resolved == {f"{incident.id}:resolved:alice"}
    assert [note.kind for note in busy.told] == [NotificationKind.PAGE]


async def test_an_end_that_cannot_be_read_costs_the_record_of_no_page(
    database: Database, courier: Courier, busy: Channel
) -> None:
    async def it_ends_unreadable() -> None:
        async with database.transaction() as tx:
            await tx.execute("UPDATE incidents SET status = 'resolved', progress = '[]'")

    incident = await claimed(database)
    await order(database, page(incident, "late", BUSY))
    busy.status, busy.meanwhile = 200, it_ends_unreadable

    await courier.deliver()

    assert await states(database) == {"late": "sent"}


async def test_a_page_not_begun_when_its_incident_ends_is_withdrawn(
    database: Database, courier: Courier, people: Responder
) -> None:
    incident = await claimed(database)
    await order(database, page(incident, "too late", CONSOLE))

    await people.resolve(incident.id, by="bob")

    assert await courier.deliver() == 0
    assert await states(database) == {"too late": "failed"}
    assert "page to alice withdrawn" in await told(database, incident.id)


@pytest.mark.parametrize("answer", [503, 400], ids=["would be tried again", "would go to every channel"])
@pytest.mark.parametrize("ending", [Responder.resolve, Responder.acknowledge], ids=["over", "acknowledged"])
async def test_a_page_that_fails_when_nobody_waits_for_it_any_more_is_not_tried_again(
    database: Database,
    courier: Courier,
    busy: Channel,
    people: Responder,
    ending: Callable[..., Awaitable[object]],
    answer: int,
) -> None:
    incident = await claimed(database)
    await order(database, page(incident, "late", BUSY))
    busy.status, busy.meanwhile = answer, lambda: ending(people, incident.id, by="bob")

    await courier.deliver()

    assert await states(database) == {"late": "failed"}
    assert (await told(database, incident.id))[-1] == "page to alice withdrawn"


async def test_an_acknowledgement_stops_what_is_tried_where_no_channel_is_left(
    database: Database, courier: Courier, people: Responder
) -> None:
    incident = await claimed(database)
    await order(database, page(incident, "lost", GONE), ago=A_WHILE)
    await courier.deliver()

    await people.acknowledge(incident.id, by="bob")

    assert await courier.deliver() == 0
    assert set((await states(database)).values()) == {"failed"}


@pytest.mark.parametrize("arrives", [True, False], ids=["sent", "to be tried again"])
async def test_an_end_waits_for_what_is_just_being_recorded_and_sees_it(
    database: Database, people: Responder, *, arrives: bool
) -> None:
    incident = await claimed(database)
    await order(database, page(incident, "just now", CONSOLE))
    async with database.connection() as connection:
        [item] = await outbox.claim(connection, lease=timedelta(seconds=30), limit=1)

    async with database.transaction() as recording:
        assert await outbox.hold(recording, [item]) == {}
        ending = asyncio.create_task(people.resolve(incident.id, by="bob"))
        await until_they_wait(recording, ending)
        assert not ending.done()
        if arrives:
            await outbox.sent(recording, [(item, Receipt())])
        else:
            await outbox.retry(recording, item, delay=timedelta(), error="busy")
    await ending

    notice = {f"{incident.id}:resolved:alice": "queued"}
    assert await states(database) == ({"just now": "sent"} | notice if arrives else {"just now": "failed"})


@pytest.mark.parametrize("ending", [Responder.resolve, Responder.acknowledge], ids=["over", "acknowledged"])
async def test_an_end_waits_for_a_last_contact_that_fails_and_sees_what_goes_to_every_channel(
    database: Database, people: Responder, ending: Callable[..., Awaitable[object]]
) -> None:
    incident = await claimed(database)
    await order(database, page(incident, "just now", CONSOLE))
    async with database.connection() as connection:
        [item] = await outbox.claim(connection, lease=timedelta(seconds=30), limit=1)

    async with database.transaction() as recording:
        assert await outbox.hold(recording, [item]) == {}
        stopping = asyncio.create_task(ending(people, incident.id, by="bob"))
        await until_they_wait(recording, stopping)
        assert not stopping.done()
        await outbox.next_contact(recording, item, error="bounced")
        await outbox.enqueue_last_resort(recording, item, [(CONSOLE,), (BUSY,)])
    await stopping

    assert set((await states(database)).values()) == {"failed"}
    assert (await told(database, incident.id)).count("page to alice withdrawn") == 2
