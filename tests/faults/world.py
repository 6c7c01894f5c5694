"""One seed from its first alert to its verdict: a database, a cluster, an inbox and two Alertmanager peers of its own.

First the story with all that goes wrong; then rest, and the first look; then everything heals and resolves, the truth
is told once more, and the second look.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from remediator.domain.mode import Mode
from tests.fakes.alertmanager_peers import Cluster as Alertmanager
from tests.fakes.alertmanager_peers import Timing, Told, Truth, told
from tests.fakes.hanging_wire import HangingWire
from tests.fakes.kubernetes import FakeCluster
from tests.faults.alarms import Alarms, number_of
from tests.faults.believed import ENOUGH_POLLS, gaps
from tests.faults.books import DATABASE_ERRORS, Books, Line, Row, read, read_books
from tests.faults.crowd import Crowd
from tests.faults.daemon import How
from tests.faults.database import Server
from tests.faults.editing import RuleFiles
from tests.faults.environment import environment_of, polling_of
from tests.faults.evidence import Evidence
from tests.faults.figures import Figures
from tests.faults.fleet import Fleet, Replica
from tests.faults.inbox import Inbox, Post
from tests.faults.invariants import at_rest, at_the_end
from tests.faults.nursery import Nursery
from tests.faults.outages import Outages
from tests.faults.passing import Passing
from tests.faults.people import PATIENCE, REFUSALS, People
from tests.faults.polling import Polled
from tests.faults.scenario import Scenario
from tests.faults.versions import FOUND_WITHIN, nobodys
from tests.faults.violations import Kind, Violation
from tests.faults.waits import sessions, tasks
from tests.system.daemon import TOKEN

REST_WITHIN = 180.0
"""A frozen replica's transaction may last for 30 s, lives follow one another, and the machine may be a busy one."""
OVER_WITHIN = 600.0
"""From a seed's database to its verdict: more than its own limits together, which are for what they know can wait."""
_TOLD_WITHIN = timedelta(seconds=3)
_CLEANED_UP_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Stage:
    """What all seeds share."""

    nursery: Nursery
    server: Server
    post: Post
    folder: Path
    worlds: dict[int, "World"] = field(default_factory=dict)
    """Those under way, by their seed."""


@dataclass(frozen=True, slots=True)
class Verdict:
    scenario: Scenario
    violations: tuple[Violation, ...]
    figures: Figures
    folder: Path
    timeline: tuple[str, ...]
    """Every incident's story, for people who look for the cause."""


async def play(scenario: Scenario, stage: Stage, *, within: float = OVER_WITHIN) -> Verdict:
    """Its verdict, in time: one seed that hangs fails, and the others go on."""
    folder = stage.folder / f"seed-{scenario.seed}"
    folder.mkdir(parents=True)
    playing = asyncio.create_task(_play(scenario, stage, folder), name=f"seed {scenario.seed}")
    try:
        await asyncio.wait({playing}, timeout=within)
        if playing.done():
            return playing.result()
        hangs = Violation(Kind.OTHER, f"not over after {within:.0f} s; what waits is told in its verdict file")
        return Verdict(scenario, (hangs,), Figures(counts=Counter(seeds=1)), folder, await _waits(scenario, stage))
    finally:
        playing.cancel()
        await asyncio.wait({playing}, timeout=_CLEANED_UP_WITHIN)


async def _waits(scenario: Scenario, stage: Stage) -> tuple[str, ...]:
    """Tasks first: what else is asked may hang as the seed does."""
    ours, world = tasks(), stage.worlds.get(scenario.seed)
    return (*ours, *(await world.standing() if world is not None else ()))


async def _play(scenario: Scenario, stage: Stage, folder: Path) -> Verdict:
    try:
        async with _world(scenario, stage, folder) as world:
            try:
                return await world.play()
            except Exception as error:
                return Verdict(scenario, (_broken(error),), world.figures(), folder, world.stories())
    except Exception as error:
        return Verdict(scenario, (_broken(error),), Figures(counts=Counter(seeds=1)), folder, ())


def _broken(error: Exception) -> Violation:
    """What keeps a seed from its end is a failure like any other: one seed's, not the run's."""
    return Violation(Kind.OTHER, f"the run broke: {type(error).__name__}: {error}")


@asynccontextmanager
async def _world(scenario: Scenario, stage: Stage, folder: Path) -> AsyncIterator["World"]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        server = await enter(Server.running(folder / "postgresql")) if scenario.needs_own_database else stage.server
        name = f"seed_{scenario.seed}"
        dsn = await server.create(name)
        if server is stage.server:
            stack.push_async_callback(server.drop, name)
        cluster = await enter(FakeCluster.serve(nodes=("node-1",)))
        inbox = stage.post.inboxes[name] = Inbox(scenario.pager)
        session = await enter(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        polled = await enter(Polled(scenario.polling.troubles if scenario.polling else ()).listening())
        world = World(scenario, folder, dsn, cluster, inbox, session, polled)
        stage.worlds[scenario.seed] = world
        stack.callback(stage.worlds.pop, scenario.seed)
        stack.push_async_callback(world.close)
        kubeconfig = cluster.write_kubeconfig(folder / "kubeconfig")
        timeout = "2s" if scenario.waits_for_leases else "10s"
        rules = world.rules = RuleFiles(folder, sink=f"{stage.post.url}/{name}", timeout=timeout)
        seen_dsn = await enter(world.wire.before(dsn)) if scenario.hangs_database else dsn
        environment = environment_of(scenario, folder, dsn=seen_dsn, rules=rules.publish(), kubeconfig=kubeconfig)
        if scenario.polling is not None:
            environment |= polling_of(polled.url)
        world.alarms.deploy()
        fleet = Fleet(stage.nursery, scenario, environment, folder, world.look_at_the_closed, rules.were_missing)
        world.fleet = await enter(fleet.running())
        world.people = People(fleet, session)
        world.passing = Passing(dsn, fleet, leases_last=scenario.waits_for_leases)
        world.outages = Outages(server, name, world.wire, fleet, session, world.truth)
        world.crowd = Crowd(fleet, session, Random(f"{scenario.seed}: crowd"))  # noqa: S311  # repeatable, guards nothing
        await fleet.until_ready(session)
        alertmanager = Alertmanager(
            world.truth,
            lambda: [f"{url}/webhooks/alertmanager" for url in world.fleet.urls()],
            TOKEN,
            session,
            Random(scenario.seed),  # noqa: S311  # repeatable, guards nothing
            timing=Timing(answer_within=1.5),
            wire=replace(scenario.wire, swallows=scenario.polling.swallows if scenario.polling else 0),
            grouped_by=scenario.grouped_by,
            gossips=scenario.gossips,
            max_alerts=scenario.max_alerts,
            reaches=world.reaches,
            withholds=world.withholds,
            is_polled=scenario.polling is not None,
        )
        world.alertmanager = polled.alertmanager = await enter(alertmanager.running())
        yield world


@dataclass
class World:
    scenario: Scenario
    folder: Path
    dsn: str
    cluster: FakeCluster
    inbox: Inbox
    session: aiohttp.ClientSession
    polled: Polled
    wire: HangingWire = field(default_factory=HangingWire)
    truth: Truth = field(default_factory=Truth)
    thawed: list[Row] = field(default_factory=list)
    begun_with: dict[int, str] = field(default_factory=dict)
    rules: RuleFiles = field(init=False)
    alarms: Alarms = field(init=False)
    fleet: Fleet = field(init=False)
    people: People = field(init=False)
    passing: Passing = field(init=False)
    outages: Outages = field(init=False)
    crowd: Crowd = field(init=False)
    alertmanager: Alertmanager = field(init=False)
    _reading: Line = field(init=False)
    _thawing: Line = field(init=False)
    _last: Books | None = None

    def __post_init__(self) -> None:
        self.alarms = Alarms(self.scenario, self.cluster, self.truth)
        self._reading, self._thawing = Line(self.dsn), Line(self.dsn)

    async def close(self) -> None:
        for line in (self._reading, self._thawing):
            await line.close()

    async def play(self) -> Verdict:
        passing = asyncio.create_task(self.passing.pass_on())
        healing = asyncio.create_task(self.alarms.notice_what_healed())
        approving = asyncio.create_task(self.people.approve_everything())
        try:
            await self._tell_the_story()
            violations = at_rest(await self._rest())
            approving.cancel()
            if self.scenario.edits:
                await self._let_everybody_find_the_rules()
            await self.crowd.knock(edition=self.rules.latest)
            await self._resolve_everything()
            evidence = await self._rest()
            violations += at_the_end(evidence)
        finally:
            for task in (passing, healing, approving):
                task.cancel()
            ended = await asyncio.gather(passing, healing, approving, return_exceptions=True)
        violations += [_broken(error) for error in ended if isinstance(error, Exception)]
        violations += [Violation(Kind.OTHER, complaint) for complaint in self.fleet.complaints()]
        unique = tuple(dict.fromkeys(violations))
        return Verdict(self.scenario, unique, self.figures(), self.folder, self.stories())

    async def _tell_the_story(self) -> None:
        async with asyncio.TaskGroup() as story:
            for part in (*self._what_happens(), *self._what_goes_wrong()):
                story.create_task(part)

    def _what_happens(self) -> Iterator[Coroutine[None, None, None]]:
        scenario = self.scenario
        for number, alarm in enumerate(scenario.alarms):
            yield self.alarms.live_through(number, alarm)
        for person in scenario.people:
            yield self.people.respond(person)
        if scenario.kill_switch is not None:
            yield self.people.stop_everything(*scenario.kill_switch)
        if scenario.edits:
            yield self.rules.edit(scenario.edits, tell=self.fleet.hang_up)
        if scenario.hours_pass_at is not None:
            yield self.passing.let_hours_pass(at=scenario.hours_pass_at)

    def _what_goes_wrong(self) -> Iterator[Coroutine[None, None, None]]:
        scenario = self.scenario
        if scenario.database is not None:
            yield self.outages.befall(scenario.database, at=scenario.database_at)
        if scenario.storm is not None:
            yield self.crowd.pour(seconds=scenario.storm.seconds)
            yield self.outages.storm(scenario.storm)
        for garbled in scenario.garbled:
            yield self.crowd.garble(garbled)
        if scenario.peer_restarts_at is not None:
            yield _later(scenario.peer_restarts_at, self.alertmanager.peers[0].restart)
        for trouble in self.polled.troubles:
            yield self.polled.befall(trouble)
        for silence in scenario.polling.silences if scenario.polling else ():
            for peer in (0, 1):
                yield self.polled.silence(silence, peer)

    async def _let_everybody_find_the_rules(self) -> None:
        """Whoever was told and could not remember them, because of the database, looks again like all others."""
        is_told = all(edited.is_told for edited in self.scenario.edits) and not self.scenario.troubles_database
        since = datetime.now(UTC) - self.rules.published_at
        await asyncio.sleep(((_TOLD_WITHIN if is_told else FOUND_WITHIN) - since).total_seconds())

    async def _resolve_everything(self) -> None:
        self.alarms.end_all()
        await asyncio.wait_for(self.alertmanager.tell_the_truth(), REST_WITHIN)
        await self.crowd.take_back()

    async def _rest(self) -> Evidence:
        """When nothing has been under way for two looks in a row. Fails with what will not come to rest."""
        ends = time.monotonic() + REST_WITHIN
        calm, unrest = 0, ["the database cannot be read"]
        while time.monotonic() < ends:
            await asyncio.sleep(0.15)
            seen = self._seen()
            books = await read(self._reading)
            if books is None:
                continue
            evidence = self._evidence(books, seen)
            unrest = [
                *books.unrest(),
                *nobodys(evidence),
                *self._unheard(evidence),
                *self.fleet.unrest(),
                *await self._unready(),
            ]
            calm = 0 if unrest else calm + 1
            if calm == 2:
                return evidence
        raise TimeoutError(
            f"stuck after {REST_WITHIN:.0f} s: {'; '.join(unrest) or 'at rest for one look, not for two'}"
        )

    def _seen(self) -> dict[str, tuple[Any, ...]]:
        """What our own state must know of: taken before it is read, for the world goes on meanwhile."""
        return {
            "writes": tuple(self.cluster.requests.writes),
            "arrivals": tuple(self.inbox.arrivals),
            "deliveries": tuple(self.alertmanager.deliveries),
            "answered": tuple(self.people.answered),
            "polls": tuple(self.polled.polls),
            "probes": tuple(self.outages.probes),
            "standstills": tuple(self.people.standstills),
            "knocks": tuple(self.crowd.knocks),
        }

    def _evidence(self, books: Books, seen: Mapping[str, tuple[Any, ...]]) -> Evidence:
        self._last = books
        for incident in books.incidents:
            self.begun_with.setdefault(incident["id"], incident["rule_version"])
        return Evidence(
            mode=self.scenario.mode,
            books=books,
            **seen,
            sent=self.crowd.sent,
            editions=self.rules.editions,
            taken=self.passing.taken,
            inbox=self.inbox,
            firings=tuple(map(told, (*self.truth.history, *self.crowd.firings))),
            births=self.fleet.births,
            begun_with=self.begun_with,
            thawed=self.thawed,
        )

    async def _unready(self) -> list[str]:
        """Who has not noticed that something comes through again."""
        if not self.scenario.hangs_database:
            return []
        return [f"the daemon on port {r.port} is not ready" for r in self.fleet.replicas if not await self._is_ready(r)]

    async def _is_ready(self, replica: Replica) -> bool:
        with suppress(*REFUSALS):
            async with self.session.get(f"{replica.url}/readyz", timeout=PATIENCE) as answer:
                return answer.status == 200
        return False

    def _unheard(self, evidence: Evidence) -> list[str]:
        """What nobody could know of yet."""
        if self.scenario.polling is None:
            return self._untold()
        return [gap.what for gap in gaps(evidence) if gap.goes_on and gap.polls < ENOUGH_POLLS]

    def _untold(self) -> list[str]:
        """Alerts that fire and that nobody was told of yet. Truncated groups may never tell of some."""
        if self.scenario.max_alerts:
            return []
        heard = {(a.fingerprint, a.starts_at) for d in self.alertmanager.deliveries if d.is_accepted for a in d.alerts}
        return [
            f"nobody was told of {firing.labels['deployment']}"
            for firing in self.truth.latest()
            if not firing.is_over and (firing.fingerprint, firing.starts_at) not in heard
        ]

    def reaches(self, peer: int, labels: Mapping[str, str]) -> bool:
        """Whether that peer hears of the alert."""
        return self.scenario.polling is None or peer in self.scenario.polling.known_to[number_of(labels)]

    def withholds(self, told: Told, peer: int) -> bool:
        """Whether it stays untold by webhook."""
        if self.scenario.polling is None:
            return False
        if self.polled.is_silenced(told.labels, peer=peer):
            return True
        loss = self.scenario.polling.losses[number_of(told.labels)]
        return loss.loses_starts if told.is_firing else loss.loses_ends

    async def look_at_the_closed(self) -> None:
        books = await read(self._thawing)
        if books is not None:
            closed = [row for row in books.incidents if row["phase"] == "closed" and row["wake_at"] is None]
            self.thawed += closed

    def stories(self) -> tuple[str, ...]:
        """The timelines, and how each incident stood when it was last seen."""
        if self._last is None:
            return ()
        told = [
            f"{row['at']:%H:%M:%S.%f} incident {row['incident_id']} {row['kind']} {row['path']}: {row['message']}"
            for row in self._last.timeline
        ]
        stands = [
            f"{self._last.now:%H:%M:%S.%f} {' '.join(f'{name}={row[name]}' for name in _STANDING)}"
            for row in self._last.incidents
        ]
        return (*told, *stands)

    async def standing(self) -> tuple[str, ...]:
        """How the database stands now, and the stories so far."""
        line = Line(self.dsn)
        try:
            connection = await line.connection()
            self._last = await read_books(connection)
            return (*await sessions(connection), *self._last.unrest(), *self.stories())
        except DATABASE_ERRORS as error:
            return (f"the database cannot be read: {error!r}", *self.stories())
        finally:
            await line.close()

    def figures(self) -> Figures:
        deliveries, books = self.alertmanager.deliveries, self._last
        figures = Figures(*map(self.fleet.struck, (How.KILL, How.STOP, How.END)), self.fleet.counts.copy())
        pages = [arrival.dedup_key for arrival in self.inbox.arrivals]
        figures.counts.update(
            {
                "seeds": 1,
                "killed at a mark": figures.kills.total(),
                "told to stop at a mark": figures.ends.total(),
                "database faults": int(self.scenario.database is not None),
                "deliveries sent": len(deliveries),
                "deliveries answered 2xx": sum(d.is_accepted for d in deliveries),
                "deliveries answered 5xx": sum(d.answered is not None and d.answered >= 500 for d in deliveries),
                "deliveries without an answer": sum(d.answered is None for d in deliveries),
                "alerts told": sum(len(d.alerts) for d in deliveries),
                "polls answered": len(self.polled.polls),
                "in observe mode": int(self.scenario.mode is Mode.OBSERVE),
                "in suggest mode": int(self.scenario.mode is Mode.SUGGEST),
                "bodies that could not be read, whole or in part": sum(bool(sent.broken) for sent in self.crowd.sent),
                "editions of the rules": len(self.rules.editions) - 1,
                "storms of dropped connections": int(self.scenario.storm is not None),
                "alerts poured and accepted": sum(len(s.unwanted) for s in self.crowd.sent if s.kept),
                "asked while the database hung": len(self.outages.probes),
                "alarms silenced": len(self.scenario.polling.silences) if self.scenario.polling else 0,
                "kill switches thrown": len(self.people.standstills),
                "people's responses": len(self.people.answered),
                "writes to the world": len(self.cluster.requests.effects),
                "pages": len(pages),
                "pages sent twice, with the same key": len(pages) - len(set(pages)),
            }
        )
        if books is not None:
            figures.counts.update(
                {
                    "episodes": len(books.episodes),
                    "incidents": len(books.incidents),
                    "intents": len(books.intents),
                    "intents observed after a crash": sum("before a restart" in r["detail"] for r in books.intents),
                    "intents nobody can tell": sum(row["state"] == "unknown" for row in books.intents),
                    "alerts found by polling": sum("was found by polling" in row["message"] for row in books.timeline),
                    "alerts whose rule came later": sum(
                        "its rule came later" in row["message"] for row in books.timeline
                    ),
                    "alerts gone by polling": sum("has been listed by no peer" in r["message"] for r in books.timeline),
                }
            )
        return figures


_STANDING = ("id", "status", "phase", "wake_at", "lease_owner", "lease_until", "epoch", "nudges")


async def _later(seconds: float, does: Callable[[], Awaitable[None]]) -> None:
    await asyncio.sleep(seconds)
    await does()
