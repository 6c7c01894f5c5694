"""One seed from its first alert to its verdict: a database, a cluster, an inbox and two Alertmanager peers of its own.

First the story with all that goes wrong; then rest, and the first look; then everything heals and resolves, the truth
is told once more, and the second look.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import aiohttp

from tests.fakes.alertmanager_peers import Cluster as Alertmanager
from tests.fakes.alertmanager_peers import Timing, Told, Truth
from tests.fakes.hanging_wire import HangingWire
from tests.fakes.kubernetes import FakeCluster
from tests.faults.alarms import Alarms, number_of
from tests.faults.beginnings import Beginnings
from tests.faults.books import DATABASE_ERRORS, Books, Line, Row, read, read_books
from tests.faults.crowd import Crowd
from tests.faults.database import Server
from tests.faults.editing import RuleFiles
from tests.faults.environment import environment_of, polling_of
from tests.faults.figures import Figures, figures_of
from tests.faults.fleet import Fleet
from tests.faults.inbox import Inbox, Post
from tests.faults.invariants import at_rest, at_the_end
from tests.faults.nursery import Nursery
from tests.faults.outages import Outages
from tests.faults.passing import Passing
from tests.faults.people import People
from tests.faults.polling import Polled
from tests.faults.resting import rest
from tests.faults.scenario import REST_WITHIN, Scenario
from tests.faults.versions import FOUND_WITHIN
from tests.faults.violations import Kind, Violation
from tests.faults.waits import sessions, tasks
from tests.faults.watched import causes, watched
from tests.system.daemon import TOKEN

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
                return Verdict(scenario, (_broken(error),), figures_of(world), folder, world.stories())
    except Exception as error:
        return Verdict(scenario, (_broken(error),), Figures(counts=Counter(seeds=1)), folder, ())


def _broken(error: Exception) -> Violation:
    """What keeps a seed from its end is a failure like any other: one seed's, not the run's."""
    return Violation(Kind.OTHER, f"the run broke: {causes(error)}")


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
        world.beginnings = Beginnings(dsn)
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
    rules: RuleFiles = field(init=False)
    alarms: Alarms = field(init=False)
    fleet: Fleet = field(init=False)
    people: People = field(init=False)
    passing: Passing = field(init=False)
    beginnings: Beginnings = field(init=False)
    outages: Outages = field(init=False)
    crowd: Crowd = field(init=False)
    alertmanager: Alertmanager = field(init=False)
    reading: Line = field(init=False)
    last: Books | None = None
    """As they were read last."""

    def __post_init__(self) -> None:
        self.alarms = Alarms(self.scenario, self.cluster, self.truth)
        self.reading = Line(self.dsn)

    async def close(self) -> None:
        await self.reading.close()

    async def play(self) -> Verdict:
        approving = asyncio.create_task(self.people.approve_everything(), name="who approves")
        beside = [
            approving,
            asyncio.create_task(self.passing.pass_on(), name="the time that passes"),
            asyncio.create_task(self.alarms.notice_what_healed(), name="what heals"),
            asyncio.create_task(self.beginnings.note(), name="who notes beginnings"),
        ]
        story = asyncio.create_task(self._live_through(approving), name="the story")
        try:
            violations = await watched(story, *beside, self.fleet.failed)
        finally:
            for task in (story, *beside):
                task.cancel()
            await asyncio.gather(story, *beside, return_exceptions=True)
        violations += [Violation(Kind.OTHER, complaint) for complaint in self.fleet.complaints()]
        unique = tuple(dict.fromkeys(violations))
        return Verdict(self.scenario, unique, figures_of(self), self.folder, self.stories())

    async def _live_through(self, approving: "asyncio.Task[None]") -> list[Violation]:
        await self._tell_the_story()
        violations = at_rest(await rest(self))
        approving.cancel()
        if self.scenario.edits:
            await self._let_everybody_find_the_rules()
        await self.crowd.knock(edition=self.rules.latest)
        await self._resolve_everything()
        return violations + at_the_end(await rest(self))

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
        """On a line of its own: two replicas may thaw at once."""
        line = Line(self.dsn)
        try:
            books = await read(line)
        finally:
            await line.close()
        if books is not None:
            closed = [row for row in books.incidents if row["phase"] == "closed" and row["wake_at"] is None]
            self.thawed += closed

    def stories(self) -> tuple[str, ...]:
        """The timelines, and how each incident stood when it was last seen."""
        if self.last is None:
            return ()
        told = [
            f"{row['at']:%H:%M:%S.%f} incident {row['incident_id']} {row['kind']} {row['path']}: {row['message']}"
            for row in self.last.timeline
        ]
        stands = [
            f"{self.last.now:%H:%M:%S.%f} {' '.join(f'{name}={row[name]}' for name in _STANDING)}"
            for row in self.last.incidents
        ]
        return (*told, *stands)

    async def standing(self) -> tuple[str, ...]:
        """How the database stands now, and the stories so far."""
        line = Line(self.dsn)
        try:
            connection = await line.connection()
            self.last = await read_books(connection)
            return (*await sessions(connection), *self.last.unrest(), *self.stories())
        except DATABASE_ERRORS as error:
            return (f"the database cannot be read: {error!r}", *self.stories())
        finally:
            await line.close()


_STANDING = ("id", "status", "phase", "wake_at", "lease_owner", "lease_until", "epoch", "nudges")


async def _later(seconds: float, does: Callable[[], Awaitable[None]]) -> None:
    await asyncio.sleep(seconds)
    await does()
