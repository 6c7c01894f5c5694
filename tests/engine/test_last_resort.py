"""The last resort at work: read ahead while the database is well, sent from memory while it is not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest
from aiohttp import web

from remediator.clients.http import open_http
from remediator.domain.errors import Temporary
from remediator.domain.ids import IncidentId
from remediator.domain.last_resort import WaitingPage
from remediator.domain.mode import Mode
from remediator.domain.notification import Notification, NotificationKind
from remediator.domain.oncall import Contact
from remediator.domain.outage import STEADY
from remediator.engine import last_resort
from remediator.engine.bell import Bell
from remediator.engine.last_resort import MARK, LastResort, Terms
from remediator.engine.links import Links
from remediator.engine.pages import PageWriter
from remediator.engine.respond import Responder
from remediator.engine.sent_from_memory import SentFromMemory
from remediator.metrics import Metrics
from remediator.rules.loader import load_rules
from remediator.rules.rulebook import Rulebook
from remediator.store import deadlines, incidents, outbox, timeline
from remediator.store.database import Connection, Database
from remediator.store.health import Health
from remediator.store.outbox import OutboxItem, Outgoing, SentAlready
from remediator.toolbox import Messengers
from tests.fakes.serving import serving
from tests.store.facts import LEASE, alert, claimed, file, opening
from tests.system.rules import CHANNELS, PEOPLE, write_rules

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WRITER = PageWriter("https://remediator.example.invalid", Links(b"secret", lambda: NOW))
DEAD = "channels:\n  console: { use: webhook, url: 'http://127.0.0.1:1/', secret: nobody-has-it }\n"
AT_ONCE = Terms(grace=timedelta(), tell_after=timedelta(minutes=2))


@dataclass
class Clock:
    """Of the outage; the deadlines have the real one."""

    now: timedelta = timedelta(hours=1)

    def __call__(self) -> timedelta:
        return self.now


@dataclass
class Scene:
    database: Database
    clock: Clock
    folder: Path
    messengers: Messengers
    metrics: Metrics = field(default_factory=Metrics)

    def resort(
        self,
        terms: Terms = AT_ONCE,
        ceiling: Mode = Mode.ACT,
        *,
        rulebook: Callable[[], Rulebook] | None = None,
        **files: str,
    ) -> LastResort:
        found = load_rules(write_rules(self.folder, **files)).rulebook
        return LastResort(
            self.database,
            rulebook or (lambda: found),
            self.messengers,
            terms=terms,
            ceiling=ceiling,
            clock=lambda: NOW,
            writer=WRITER,
            metrics=self.metrics,
        )

    async def waiting_page(self) -> IncidentId:
        """In the outbox, due, and not sent."""
        incident = await claimed(self.database)
        note = Notification(incident.id, NotificationKind.PAGE, "1:1:0:alice", "alice", "", "", "down", "sev1", "")
        async with self.database.transaction() as tx:
            await outbox.enqueue(tx, [Outgoing(note, (Contact("console", "tty"),), incident.rule)])
        return incident.id

    async def page_that_nobody_took(self) -> tuple[LastResort, IncidentId]:
        """The database is lost; in memory are that page, due again, and the chain of its incident."""
        incident = await self.waiting_page()
        resort = self.resort(oncall__channels=DEAD)
        await resort.tick()
        self.lost_for(timedelta(seconds=1))
        for page in await resort.tick():
            await resort.carry(page)
        return resort, incident

    async def page_from_memory(self) -> tuple[LastResort, IncidentId]:
        """The database is lost, and that page was taken."""
        incident = await self.waiting_page()
        resort = self.resort()
        await resort.tick()
        self.lost_for(timedelta(seconds=1))
        for page in await resort.tick():
            await resort.carry(page)
        return resort, incident

    async def carry_all(self, resort: LastResort) -> None:
        for page in await resort.tick():
            await resort.carry(page)

    async def steady_again(self, resort: LastResort) -> None:
        self.database.health.found_well()
        self.clock.now += STEADY
        self.database.health.found_well()
        await resort.tick()

    def lost_for(self, duration: timedelta) -> None:
        self.database.health.lost("reset")
        self.clock.now += duration

    def sent(self, channel: str = "console", result: str = "sent") -> float:
        counted = self.metrics.registry.get_sample_value(
            "remediator_last_resort_pages_total", {"channel": channel, "result": result}
        )
        return counted or 0


@pytest.fixture
async def scene(database: Database, tmp_path: Path) -> AsyncIterator[Scene]:
    clock = Clock()
    async with open_http(private_networks=True) as http:
        ticking = Database(database.pool, Health(clock))
        yield Scene(ticking, clock, tmp_path / "rules", Messengers(http, secrets={"signing": "s3cret"}))


async def test_nothing_is_sent_while_the_database_is_well(scene: Scene) -> None:
    await scene.waiting_page()

    assert await scene.resort().tick() == []


async def test_a_page_that_waits_is_sent_once_by_its_own_key(scene: Scene) -> None:
    await scene.waiting_page()
    resort = scene.resort()
    await resort.tick()
    scene.lost_for(timedelta(seconds=1))

    [page] = await resort.tick()
    again = await resort.tick()

    assert [(call.dedup_key, call.contact) for call in page.calls] == [("1:1:0:alice", Contact("console", "tty"))]
    assert list(again) == []


async def test_an_escalation_strikes_at_its_time_with_the_key_of_the_ordinary_path(scene: Scene) -> None:
    await claimed(scene.database)
    async with scene.database.transaction() as tx:
        await tx.execute("UPDATE escalations SET due_at = now()")
    resort = scene.resort()
    await resort.tick()
    scene.lost_for(timedelta(seconds=1))

    [page] = await resort.tick()

    assert [call.dedup_key for call in page.calls] == [f"{page.notification.incident}:1:0:alice"]
    assert page.notification.incident_url.endswith(f"/incidents/{page.notification.incident}")
    assert list(await resort.tick()) == [], "the next step has its own time"


async def test_what_strikes_from_memory_has_the_links_of_a_rule_in_force(scene: Scene) -> None:
    """The incident's own page is lost with the database."""
    await claimed(scene.database)
    resort = scene.resort()
    (rule,) = load_rules(scene.folder).rulebook.rules
    async with scene.database.transaction() as tx:
        await tx.execute("UPDATE escalations SET due_at = now()")
        await tx.execute("UPDATE incidents SET rule_version = $1", rule.version)
    await resort.tick()
    scene.lost_for(timedelta(seconds=1))

    [page] = await resort.tick()

    assert page.notification.links == {"Errors": "https://grafana.example.invalid/d/errors"}


@pytest.mark.parametrize(
    "spoil",
    ["UPDATE escalations SET severity = '{}'", "UPDATE outbox SET notification = '{}'"],
    ids=["a chain", "a page"],
)
async def test_what_cannot_be_read_ahead_keeps_nothing_else_back(scene: Scene, spoil: str) -> None:
    await scene.waiting_page()
    async with scene.database.transaction() as tx:
        await tx.execute("UPDATE escalations SET due_at = now()")
        await tx.execute(spoil)
    resort = scene.resort()
    await resort.tick()
    scene.lost_for(timedelta(seconds=1))

    assert len(await resort.tick()) == 1


async def test_an_outage_within_the_grace_is_sat_out(scene: Scene) -> None:
    await scene.waiting_page()
    resort = scene.resort(Terms(grace=timedelta(seconds=30)))
    await resort.tick()
    scene.lost_for(timedelta(seconds=29))
    within = await resort.tick()
    scene.clock.now += timedelta(seconds=1)

    assert (len(within), len(await resort.tick())) == (0, 1)


async def test_it_says_why_it_comes_this_way(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    await scene.waiting_page()
    resort = scene.resort()
    await resort.tick()
    scene.lost_for(timedelta(seconds=1))
    [page] = await resort.tick()

    await resort.carry(page)

    told = capsys.readouterr().out
    assert f"down [{MARK}]" in told
    assert "/acknowledge?token=" in told, "for when the database is back"
    assert scene.sent() == 1


@pytest.mark.parametrize("ends", ["before it is written down", "afterwards"])
async def test_who_was_paged_from_memory_hears_that_it_is_over(scene: Scene, ends: str) -> None:
    resort, incident = await scene.page_from_memory()
    responder = Responder(scene.database, WRITER, Bell())

    scene.database.health.found_well()
    if ends == "before it is written down":
        await responder.resolve(incident, by="bob")
    await scene.steady_again(resort)
    if ends == "afterwards":
        await responder.resolve(incident, by="bob")

    async with scene.database.connection() as connection:
        told = [entry.message for entry in await timeline.of_incident(connection, incident)]
        notices = await outbox.claim(connection, lease=LEASE, limit=10)
    assert "page sent to alice by console from memory, while the database was lost" in told
    assert [(notice.kind, notice.recipient, notice.contact) for notice in notices] == [
        (NotificationKind.RESOLVED, "alice", Contact("console", "tty"))
    ]


async def test_what_went_out_from_memory_is_written_down_once_and_what_waits_is_sent_all_the_same(
    scene: Scene,
) -> None:
    resort, incident = await scene.page_from_memory()

    await scene.steady_again(resort)
    await scene.steady_again(resort)

    async with scene.database.connection() as connection:
        rows = await connection.fetch("SELECT dedup_key, state FROM outbox ORDER BY id")
        told = [entry.message for entry in await timeline.of_incident(connection, incident)]
    assert [tuple(row) for row in rows] == [("1:1:0:alice", "queued"), ("1:1:0:alice:console:from-memory", "sent")]
    assert len([message for message in told if "from memory" in message]) == 1


async def test_one_page_from_memory_that_cannot_be_told_of_costs_no_other_its_record(database: Database) -> None:
    bad, good = await two_incidents(database)
    sent = SentFromMemory(database, WRITER)
    for incident in (bad, good):
        sent.add(from_memory(incident, step=0))
    async with database.transaction() as tx:
        await tx.execute("UPDATE incidents SET status = 'resolved', progress = '[]' WHERE id = $1", bad)

    await sent.write_down()

    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM outbox WHERE state = 'sent'") == 2
        assert "from memory" in (await timeline.of_incident(connection, good))[-1].message


async def test_however_often_somebody_was_paged_from_memory_they_hear_the_end_once(database: Database) -> None:
    incident, _ = await two_incidents(database)
    sent = SentFromMemory(database, WRITER)
    for step in range(12):
        sent.add(from_memory(incident, step=step))
    await Responder(database, WRITER, Bell()).resolve(incident, by="bob")

    await sent.write_down()

    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM outbox WHERE kind = 'resolved'") == 1


async def test_a_bug_in_writing_down_one_page_keeps_no_other_from_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = outbox.record_sent

    async def unless_it_is_the_first(tx: Connection, pages: Sequence[SentAlready]) -> list[OutboxItem]:
        if any(page.notification.incident == first for page in pages):
            raise ValueError("a bug")
        return await record(tx, pages)

    first, second = await two_incidents(database)
    sent = SentFromMemory(database, WRITER)
    for incident in (first, second):
        sent.add(from_memory(incident, step=0))
    monkeypatch.setattr(outbox, "record_sent", unless_it_is_the_first)

    await sent.write_down()

    async with database.connection() as connection:
        assert await connection.fetchval("SELECT incident_id FROM outbox") == second


def from_memory(incident: IncidentId, *, step: int) -> Notification:
    key = f"{incident}:1:{step}:alice"
    return Notification(incident, NotificationKind.PAGE, key, "alice", "console", "tty", "down", "sev1", "")


async def two_incidents(database: Database) -> list[IncidentId]:
    await file(database, alert("a"), alert("b"), opens=lambda told: opening(told.fingerprint))
    async with database.connection() as connection:
        return [IncidentId(row["id"]) for row in await connection.fetch("SELECT id FROM incidents ORDER BY id")]


async def test_what_went_out_from_memory_waits_for_a_database_that_takes_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object) -> NoReturn:
        raise Temporary("read-only", system="database", operation="insert")

    resort, incident = await scene.page_from_memory()
    with monkeypatch.context() as patched:
        patched.setattr(outbox, "record_sent", refused)
        await scene.steady_again(resort)

    await scene.steady_again(resort)

    async with scene.database.connection() as connection:
        told = [entry.message for entry in await timeline.of_incident(connection, incident)]
    assert told[-1] == "page sent to alice by console from memory, while the database was lost"


async def test_what_is_stored_in_a_moment_in_which_the_database_answers_strikes_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that crashes again and again is never well for long, and takes alerts in between."""
    monkeypatch.setattr(last_resort, "READ_EVERY", timedelta())
    monkeypatch.setattr(last_resort, "READING_SHARE", 0)
    resort = scene.resort()
    await resort.tick()
    scene.lost_for(timedelta(seconds=1))
    await resort.tick()

    scene.database.health.found_well()
    incident = await scene.waiting_page()
    await resort.tick()
    struck = []
    for _ in range(2):
        scene.lost_for(timedelta(seconds=1))
        struck += [page.notification.incident for page in await resort.tick()]
        scene.database.health.found_well()
        await resort.tick()

    assert struck == [incident]


async def test_a_page_that_no_channel_took_is_due_again(scene: Scene) -> None:
    resort, _ = await scene.page_that_nobody_took()

    assert scene.sent(result="failed") == 1
    assert resort.watched == 2, "the page again, and the chain of its incident"


async def test_a_page_that_nobody_took_by_a_moment_in_which_the_database_answers_is_due_again(scene: Scene) -> None:
    """It may be lost again in a moment, and is read anew only when it is well for longer."""
    await scene.waiting_page()
    resort = scene.resort(oncall__channels=DEAD)
    await resort.tick()
    scene.lost_for(timedelta(seconds=1))
    [page] = await resort.tick()
    scene.database.health.found_well()

    await resort.carry(page)

    assert resort.watched == 2, "the page again, and the chain of its incident"


@dataclass
class Stumbling:
    """The rules, unless there is a bug in asking for them."""

    rulebook: Rulebook
    stumbles: bool = False

    def __call__(self) -> Rulebook:
        if self.stumbles:
            raise ZeroDivisionError
        return self.rulebook


async def test_what_it_stumbles_over_is_due_again(scene: Scene) -> None:
    await scene.waiting_page()
    rules = Stumbling(load_rules(write_rules(scene.folder)).rulebook)
    resort = scene.resort(rulebook=rules)
    await resort.tick()
    scene.lost_for(timedelta(seconds=1))
    rules.stumbles = True

    assert (list(await resort.tick()), resort.watched) == ([], 2)


async def test_an_outage_it_stumbles_over_is_told_as_soon_as_it_can_be(scene: Scene) -> None:
    rules = Stumbling(load_rules(write_rules(scene.folder)).rulebook, stumbles=True)
    resort = scene.resort(rulebook=rules)
    scene.lost_for(timedelta(minutes=2))
    stumbled = list(await resort.tick())
    rules.stumbles = False

    assert [stumbled, len(await resort.tick())] == [[], 1]


async def test_no_bug_ends_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has in memory would end with the daemon."""
    asked = asyncio.Queue[None]()

    async def stumble(*_: object, at_most: int) -> NoReturn:
        asked.put_nowait(None)
        raise ZeroDivisionError

    monkeypatch.setattr(deadlines, "upcoming", stumble)
    running = asyncio.create_task(scene.resort().run())
    async with asyncio.timeout(10):
        await asked.get()
        await asked.get()
    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running


async def resolve(tx: Connection, incident: IncidentId) -> None:
    await incidents.resolve(tx, incident, by="bob", note="")


async def acknowledge(tx: Connection, incident: IncidentId) -> None:
    await incidents.acknowledge(tx, incident, by="bob")


async def acknowledge_long_ago(tx: Connection, incident: IncidentId) -> None:
    await incidents.acknowledge(tx, incident, by="bob")
    await tx.execute("UPDATE escalations SET due_at = now() - interval '1 second'")


async def nothing(_tx: Connection, _incident: IncidentId) -> None: ...


@pytest.mark.parametrize(
    ("happens", "left"),
    [
        pytest.param(nothing, 2, id="nobody has it"),
        pytest.param(resolve, 0, id="it is over"),
        pytest.param(acknowledge, 1, id="acknowledged: its chain starts again, later"),
        pytest.param(acknowledge_long_ago, 2, id="the acknowledgement has run out"),
    ],
)
async def test_a_moment_in_which_the_database_answers_tells_what_need_not_be_tried_any_more(
    scene: Scene, happens: Callable[[Connection, IncidentId], Awaitable[None]], left: int
) -> None:
    resort, incident = await scene.page_that_nobody_took()
    scene.database.health.found_well()
    async with scene.database.transaction() as tx:
        await happens(tx, incident)

    assert (list(await resort.tick()), resort.watched) == ([], left)


async def test_only_what_the_database_says_ends_a_page(scene: Scene) -> None:
    resort, incident = await scene.page_that_nobody_took()
    scene.database.health.found_well()
    async with scene.database.transaction() as tx:
        await resolve(tx, incident)
    scene.database.pool.terminate()

    assert (list(await resort.tick()), resort.watched) == ([], 2)


async def test_one_dead_channel_does_not_stop_another(scene: Scene) -> None:
    await scene.waiting_page()
    channels = f"{CHANNELS}  dead: {{ use: webhook, url: 'http://127.0.0.1:1/', secret: nobody-has-it }}\n"
    resort = scene.resort(oncall__channels=channels)
    await resort.tick()
    scene.lost_for(timedelta(seconds=1))
    [page] = await resort.tick()

    await resort.carry(page)

    assert (scene.sent("console"), scene.sent("dead", "failed")) == (1, 1)


@dataclass
class Chat:
    """A channel that reaches people, or does not."""

    is_up: bool = False
    got: list[str] = field(default_factory=list)

    async def receive(self, request: web.Request) -> web.Response:
        if self.is_up:
            self.got.append(request.headers["webhook-id"])
        return web.Response(status=200 if self.is_up else 503)


async def test_what_a_channel_took_that_nobody_may_look_at_is_tried_on_the_others_until_somebody_is_told(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The console always takes it."""
    monkeypatch.setattr(last_resort, "TRY_AGAIN", timedelta())
    chat, app = Chat(), web.Application()
    app.add_routes([web.post("/", chat.receive)])
    await scene.waiting_page()
    async with serving(app) as url:
        channels = f"{CHANNELS}  chat: {{ use: webhook, url: '{url}/', secret: signing }}\n"
        resort = scene.resort(oncall__channels=channels)
        await resort.tick()
        scene.lost_for(timedelta(seconds=1))

        await scene.carry_all(resort)
        watched = resort.watched
        await scene.carry_all(resort)
        chat.is_up = True
        await scene.carry_all(resort)
        await scene.carry_all(resort)

    assert watched == 2, "the page, and the chain of its incident"
    assert (chat.got, scene.sent("console"), scene.sent("chat", "failed")) == (["1:1:0:alice"], 1, 2)


async def test_a_page_that_the_console_alone_can_take_is_settled_by_it(scene: Scene) -> None:
    resort, _ = await scene.page_from_memory()

    assert resort.watched == 1, "the chain of its incident"


async def test_a_long_outage_is_told_once_and_so_is_its_end(scene: Scene) -> None:
    resort = scene.resort()
    await resort.tick()
    scene.lost_for(timedelta(minutes=2))
    told = [*await resort.tick(), *await resort.tick()]
    scene.database.health.found_well()
    in_the_same_moment = await resort.tick()
    scene.clock.now += STEADY
    scene.database.health.found_well()
    over = [*await resort.tick(), *await resort.tick()]

    assert [_first_key(page) for page in told] == ["database-outage:2026-03-01T11:58:alice"]
    assert [_first_key(page) for page in over] == ["database-outage:2026-03-01T11:58:over:alice"]
    assert (list(in_the_same_moment), over[0].notification.kind) == ([], NotificationKind.RESOLVED)


async def test_an_outage_is_told_to_everybody_who_is_paged_at_once(scene: Scene) -> None:
    people = f"{PEOPLE}  bob:\n    name: Bob\n    reach: [{{ channel: console }}]\n"
    policy = "policy: on-call\nsteps: [{ page: [alice], wait: 0s }, { page: [bob], wait: 15m }]\n"
    resort = scene.resort(oncall__people=people, **{"escalation__on-call": policy})
    scene.lost_for(timedelta(minutes=2))

    [told] = await resort.tick()

    assert [call.recipient for call in told.calls] == ["alice", "bob"]


async def test_observe_mode_sends_nothing(scene: Scene) -> None:
    await scene.waiting_page()
    resort = scene.resort(ceiling=Mode.OBSERVE)
    await resort.tick()
    scene.lost_for(timedelta(minutes=5))

    assert list(await resort.tick()) == []


def _first_key(page: WaitingPage) -> str:
    return page.calls[0].dedup_key
