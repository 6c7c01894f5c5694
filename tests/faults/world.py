"""One seed from its first alert to its verdict: a database, a cluster, an inbox and two Alertmanager peers of its own.

First the story with all that goes wrong; then rest, and the first look; then everything heals and resolves, the truth
is told once more, and the second look.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeAlias

import aiohttp
import asyncpg

from tests.cluster.eventually import eventually
from tests.fakes.alertmanager_peers import Cluster as Alertmanager
from tests.fakes.alertmanager_peers import Timing, Told, Truth, envelope, told
from tests.fakes.hanging_wire import HangingWire
from tests.fakes.kubernetes import FakeCluster
from tests.fakes.kubernetes.kubelet import is_ready
from tests.faults.believed import ENOUGH_POLLS, gaps
from tests.faults.daemon import How
from tests.faults.database import Server
from tests.faults.evidence import Answered, Books, Evidence, Line, Probe, Row, Standstill, read_books
from tests.faults.figures import Figures
from tests.faults.fleet import Fleet, Replica
from tests.faults.inbox import Inbox, Post
from tests.faults.invariants import at_rest, at_the_end
from tests.faults.nursery import Nursery
from tests.faults.polling import Polled
from tests.faults.rules import write_fault_rules
from tests.faults.scenario import LEASE_SECONDS, Alarm, DatabaseFault, Person, Scenario, Trouble
from tests.faults.violations import Kind, Violation
from tests.faults.waits import sessions, tasks
from tests.system.daemon import API_TOKEN, TOKEN

NAMESPACE = "prod"
REST_WITHIN = 180.0
"""A frozen replica's transaction may last for 30 s, lives follow one another, and the machine may be a busy one."""
OVER_WITHIN = 600.0
"""From a seed's database to its verdict: more than its own limits together, which are for what they know can wait."""
_CLEANED_UP_WITHIN = 60.0
_REFUSALS = (aiohttp.ClientError, TimeoutError)
_DATABASE_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
_REPLICAS = 2
_TWIN_BEHIND = 0.3
_Asking: TypeAlias = AbstractAsyncContextManager[aiohttp.ClientResponse]
_TRIES = 3
"""Of one look at the cluster."""


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
        world = World(scenario, folder, server, name, dsn, cluster, inbox, session, polled)
        stage.worlds[scenario.seed] = world
        stack.callback(stage.worlds.pop, scenario.seed)
        stack.push_async_callback(world.close)
        environment = {
            "DATABASE_URL": await enter(world.wire.before(dsn)) if scenario.hangs_database else dsn,
            "REMEDIATOR_MODE": "act",
            "REMEDIATOR_DATA_DIR": str(folder / "data"),
            "REMEDIATOR_DATABASE_POOL": "5",
            "REMEDIATOR_RULES_DIR": str(
                write_fault_rules(
                    folder / "rules",
                    sink=f"{stage.post.url}/{name}",
                    timeout="2s" if scenario.waits_for_leases else "10s",
                )
            ),
            "REMEDIATOR_WEBHOOKS__TOKENS": f'{{"alertmanager": ["{TOKEN}"]}}',
            "REMEDIATOR_API_TOKENS": json.dumps(
                {"tests": {"token": API_TOKEN, "roles": ["read", "respond", "approve"]}}
            ),
            "REMEDIATOR_SECRETS": '{"sink": "signing"}',
            "REMEDIATOR_LINK_SECRET": "links",
            "REMEDIATOR_KUBERNETES__ENABLED": "true",
            "REMEDIATOR_KUBERNETES__KUBECONFIG": str(cluster.write_kubeconfig(folder / "kubeconfig")),
            "REMEDIATOR_ENGINE__LEASE_SECONDS": str(LEASE_SECONDS) if scenario.waits_for_leases else "30",
            "REMEDIATOR_ENGINE__POLL_SECONDS": "0.2",
            "REMEDIATOR_ENGINE__RECHECK_SECONDS": "0.1",
            "REMEDIATOR_LOG_LEVEL": "warning",
        }
        if scenario.polling is not None:
            peers = [f"{polled.url}/{peer}" for peer in (0, 1)]
            environment["REMEDIATOR_SOURCES"] = json.dumps({"alertmanager": {"peers": peers, "every_seconds": 5}})
        world.deploy()
        world.fleet = await enter(
            Fleet(stage.nursery, scenario, environment, folder, world.look_at_the_closed).running()
        )
        await world.fleet.until_ready(session)
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
    server: Server
    name: str
    dsn: str
    cluster: FakeCluster
    inbox: Inbox
    session: aiohttp.ClientSession
    polled: Polled
    wire: HangingWire = field(default_factory=HangingWire)
    truth: Truth = field(default_factory=Truth)
    answered: list[Answered] = field(default_factory=list)
    probes: list[Probe] = field(default_factory=list)
    standstills: list[Standstill] = field(default_factory=list)
    thawed: list[Row] = field(default_factory=list)
    fleet: Fleet = field(init=False)
    alertmanager: Alertmanager = field(init=False)
    _reading: Line = field(init=False)
    _thawing: Line = field(init=False)
    _writing: Line = field(init=False)
    _last: Books | None = None
    _leased: dict[tuple[int, int], float] = field(default_factory=dict)
    _taken: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._reading, self._thawing, self._writing = Line(self.dsn), Line(self.dsn), Line(self.dsn)

    async def close(self) -> None:
        for line in (self._reading, self._thawing, self._writing):
            await line.close()

    async def play(self) -> Verdict:
        passing = asyncio.create_task(self._pass_time())
        healing = asyncio.create_task(self._notice_what_healed())
        approving = asyncio.create_task(self._approve_everything())
        try:
            await self._tell_the_story()
            violations = at_rest(await self._rest())
            approving.cancel()
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

    def deploy(self) -> None:
        for method, path in _WRITES.items():
            self.cluster.fail_next(500, method=method, path=path, times=self.scenario.api_errors, writes_only=True)
            self.cluster.hang_up_next(method=method, path=path, times=self.scenario.api_hang_ups)
            self.cluster.hang_up_next(method=method, path=path, times=self.scenario.api_hides, hides=_TRIES)
        for number, _ in enumerate(self.scenario.alarms):
            self.cluster.deploy(NAMESPACE, workload := self._workload(number), replicas=_REPLICAS)
            if self.scenario.guards_pods:
                self.cluster.add_budget(NAMESPACE, workload, app=workload, min_available=_REPLICAS)

    async def _tell_the_story(self) -> None:
        scenario = self.scenario
        async with asyncio.TaskGroup() as story:
            for number, alarm in enumerate(scenario.alarms):
                story.create_task(self._live_through(number, alarm))
            for person in scenario.people:
                story.create_task(self._respond(person))
            if scenario.database is not None:
                story.create_task(self._break_database(scenario.database))
            if scenario.peer_restarts_at is not None:
                story.create_task(_later(scenario.peer_restarts_at, self.alertmanager.peers[0].restart))
            if scenario.kill_switch is not None:
                story.create_task(self._stop_everything(*scenario.kill_switch))
            for trouble in self.polled.troubles:
                story.create_task(self.polled.befall(trouble))
            if scenario.hours_pass_at is not None:
                story.create_task(_later(scenario.hours_pass_at, self._let_hours_pass))

    async def _live_through(self, number: int, alarm: Alarm) -> None:
        await asyncio.sleep(alarm.fires_at)
        await self._fire(number, alarm)
        if alarm.ends_at is not None:
            await asyncio.sleep(alarm.ends_at - alarm.fires_at)
            self._resolve(number)
        if alarm.ends_at is not None and alarm.fires_again_at is not None:
            await asyncio.sleep(alarm.fires_again_at - alarm.ends_at)
            await self._fire(number, alarm)

    async def _fire(self, number: int, alarm: Alarm) -> None:
        self._break(number, alarm)
        first, *twins = self._labels(number)
        self.truth.fire(first)
        for twin in twins:
            await asyncio.sleep(_TWIN_BEHIND)
            self.truth.fire(twin)

    def _break(self, number: int, alarm: Alarm) -> None:
        workload = self._workload(number)
        match alarm.trouble:
            case Trouble.REPLACE | Trouble.RESTART | Trouble.APPROVED:
                self.cluster.break_until_restarted(NAMESPACE, workload, pods=1)
            case Trouble.HOPELESS:
                self.cluster.break_pods(NAMESPACE, workload)
            case Trouble.SCALE | Trouble.LOOK:
                pass

    async def _notice_what_healed(self) -> None:
        """An alert ends when what it measures is well again."""
        while True:
            await asyncio.sleep(0.2)
            for number, alarm in enumerate(self.scenario.alarms):
                if self._has_healed(number, alarm):
                    self._resolve(number)

    def _has_healed(self, number: int, alarm: Alarm) -> bool:
        pods = self.cluster.pods(NAMESPACE, self._workload(number))
        match alarm.trouble:
            case Trouble.REPLACE | Trouble.RESTART | Trouble.APPROVED:
                return all(map(is_ready, pods))
            case Trouble.SCALE:
                return len(pods) > _REPLICAS
            case Trouble.HOPELESS | Trouble.LOOK:
                return False

    async def _respond(self, person: Person) -> None:
        await asyncio.sleep(person.at)
        ends = time.monotonic() + 20
        while time.monotonic() < ends:
            for incident in await self._get("/api/v1/incidents?status=triggered"):
                status = await self._post(f"/api/v1/incidents/{incident['id']}/{person.does}", {})
                if status == 200:
                    self.answered.append(Answered(incident["id"], person.does))
                    return
            await asyncio.sleep(0.1)

    async def _stop_everything(self, thrown_at: float, lifted_at: float) -> None:
        await asyncio.sleep(thrown_at)
        await eventually(partial(self._switched, on=True), within=REST_WITHIN)
        begins_at = datetime.now(UTC)
        await asyncio.sleep(lifted_at - thrown_at)
        self.standstills.append(Standstill(begins_at, datetime.now(UTC)))
        await eventually(partial(self._switched, on=False), within=REST_WITHIN)

    async def _switched(self, *, on: bool) -> bool:
        return await self._post("/api/v1/kill-switch", {"on": on, "reason": "the story"}, method="PUT") == 200

    async def _approve_everything(self) -> None:
        while True:
            await asyncio.sleep(0.3)
            for incident in await self._get("/api/v1/incidents"):
                if incident["phase"] == "proposed" and incident["plan"] is not None:
                    plan = {"plan": incident["plan"]["digest"]}
                    await self._post(f"/api/v1/incidents/{incident['id']}/approve", plan)

    async def _get(self, path: str) -> list[dict[str, Any]]:
        for url in self.fleet.urls():
            with suppress(*_REFUSALS):
                async with self.session.get(url + path, headers=_AS_PERSON, timeout=_PATIENCE) as response:
                    if response.status == 200:
                        found: list[dict[str, Any]] = (await response.json())["incidents"]
                        return found
        return []

    async def _post(self, path: str, body: object, *, method: str = "POST") -> int:
        """The status; 0 where no answer came. The last replica first: it was started last."""
        for url in reversed(self.fleet.urls()):
            with suppress(*_REFUSALS):
                asking = self.session.request(method, url + path, json=body, headers=_AS_PERSON, timeout=_PATIENCE)
                async with asking as response:
                    return response.status
        return 0

    async def _break_database(self, fault: DatabaseFault) -> None:
        await asyncio.sleep(self.scenario.database_at)
        match fault:
            case DatabaseFault.CONNECTIONS:
                await self.server.drop_connections(self.name)
            case DatabaseFault.CRASH:
                await self.server.crash()
            case DatabaseFault.RESTART:
                await self.server.restart()
            case DatabaseFault.HANGS:
                await self._hang_database()
                self.wire.go_on()
            case DatabaseFault.HANGS_UNTIL_CUT:
                await self._hang_database()
                self.wire.cut()

    async def _hang_database(self) -> None:
        """For as long as it takes to notice. Whoever is asked before does not wait for that either."""
        self.wire.hang()
        hung_at = time.monotonic()
        async with asyncio.TaskGroup() as asking:
            for replica in self.fleet.standing():
                asking.create_task(self._probe(replica, "a webhook", self._webhook(replica), since=hung_at))
            await asyncio.sleep(_NOTICED_WITHIN)
            for replica in self.fleet.standing(since=hung_at):
                ready = self.session.get(f"{replica.url}/readyz")
                asking.create_task(self._probe(replica, "/readyz", ready, since=hung_at))
                asking.create_task(self._probe(replica, "a later webhook", self._webhook(replica), since=hung_at))

    def _webhook(self, replica: Replica) -> _Asking:
        body = envelope([told(firing) for firing in self.truth.latest()])
        headers = {"Authorization": f"Bearer {TOKEN}"}
        return self.session.post(f"{replica.url}/webhooks/alertmanager", json=body, headers=headers)

    async def _probe(self, replica: Replica, of: str, asking: _Asking, *, since: float) -> None:
        """Counts if it neither died nor froze meanwhile: else it had no time to notice. We may hear of its end later
        than of the connection that its end cut."""
        began, status = time.monotonic(), 0
        try:
            async with asyncio.timeout(_LONG_ENOUGH), asking as answer:
                status = answer.status
        except aiohttp.ClientError:
            return
        except TimeoutError:
            pass
        if replica in self.fleet.standing(since=since):
            self.probes.append(Probe(of, status, time.monotonic() - began))

    async def _let_hours_pass(self) -> None:
        """Once, whatever befalls the database meanwhile."""
        line = Line(self.dsn)

        async def have_passed() -> bool:
            try:
                await (await line.connection()).execute(_EVERY_WAIT_IS_OVER)
            except _DATABASE_ERRORS:
                return False
            return True

        await eventually(have_passed, within=REST_WITHIN)
        await line.close()

    async def _resolve_everything(self) -> None:
        for number, _ in enumerate(self.scenario.alarms):
            self.cluster.heal(NAMESPACE, self._workload(number))
            self._resolve(number)
        await asyncio.wait_for(self.alertmanager.tell_the_truth(), REST_WITHIN)

    async def _rest(self) -> Evidence:
        """When nothing has been under way for two looks in a row. Fails with what will not come to rest."""
        ends = time.monotonic() + REST_WITHIN
        calm, unrest = 0, ["the database cannot be read"]
        while time.monotonic() < ends:
            await asyncio.sleep(0.15)
            seen = self._seen()
            books = await _read(self._reading)
            if books is None:
                continue
            self._last = books
            firings = tuple(map(told, self.truth.history))
            evidence = Evidence(books, *seen, self._taken, self.inbox, firings, self.thawed)
            unrest = [*books.unrest(), *self._unheard(evidence), *self.fleet.unrest(), *await self._unready()]
            calm = 0 if unrest else calm + 1
            if calm == 2:
                return evidence
        raise TimeoutError(
            f"stuck after {REST_WITHIN:.0f} s: {'; '.join(unrest) or 'at rest for one look, not for two'}"
        )

    def _seen(self) -> tuple[Any, ...]:
        """What our own state must know of: taken before it is read, for the world goes on meanwhile."""
        writes, arrivals = self.cluster.requests.writes, self.inbox.arrivals
        seen = (writes, arrivals, self.alertmanager.deliveries, self.answered, self.polled.polls)
        return tuple(tuple(one) for one in (*seen, self.probes, self.standstills))

    async def _unready(self) -> list[str]:
        """Who has not noticed that something comes through again."""
        if not self.scenario.hangs_database:
            return []
        return [f"the daemon on port {r.port} is not ready" for r in self.fleet.replicas if not await self._is_ready(r)]

    async def _is_ready(self, replica: Replica) -> bool:
        with suppress(*_REFUSALS):
            async with self.session.get(f"{replica.url}/readyz", timeout=_PATIENCE) as answer:
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
        return self.scenario.polling is None or peer in self.scenario.polling.known_to[_number_of(labels)]

    def withholds(self, told: Told) -> bool:
        """Whether it stays untold by webhook."""
        if self.scenario.polling is None:
            return False
        loss = self.scenario.polling.losses[_number_of(told.labels)]
        return loss.loses_starts if told.is_firing else loss.loses_ends

    async def look_at_the_closed(self) -> None:
        books = await _read(self._thawing)
        if books is not None:
            closed = [row for row in books.incidents if row["phase"] == "closed" and row["wake_at"] is None]
            self.thawed += closed

    async def _pass_time(self) -> None:
        """What leases, time-outs and pauses would bring in half a minute; the living keep what they hold."""
        while True:
            await asyncio.sleep(0.3)
            with suppress(*_DATABASE_ERRORS):
                await self._expire()

    async def _expire(self) -> None:
        connection = await self._writing.connection()
        await self._expire_pages(connection)
        if self.scenario.waits_for_leases:
            return
        await connection.execute(_LEASES_OF_THE_DEAD, self.fleet.living())
        await connection.execute("UPDATE outbox SET due_at = now() WHERE state = 'queued' AND due_at > now()")
        if self.fleet.unrest():
            await connection.execute(_IDLE_TRANSACTIONS)

    async def _expire_pages(self, connection: "asyncpg.Connection[Any]") -> None:
        """Their leases name no owner, and last longer than anybody is frozen here; nobody alive needs more than a
        second and a half for one."""
        now = time.monotonic()
        for row in await connection.fetch("SELECT id, epoch, dedup_key FROM outbox WHERE lease_until > now()"):
            since = self._leased.setdefault((row["id"], row["epoch"]), now)
            if now - since > 1.5:
                self._taken[row["dedup_key"]] += 1
                await connection.execute(
                    "UPDATE outbox SET lease_until = now() WHERE id = $1 AND epoch = $2", row["id"], row["epoch"]
                )

    def _workload(self, number: int) -> str:
        return f"{self.scenario.alarms[number].trouble.lower()}-{number}"

    def _labels(self, number: int) -> list[dict[str, str]]:
        """Of each of its alerts."""
        alarm = self.scenario.alarms[number]
        first = {"alertname": alarm.trouble.value, "namespace": NAMESPACE, "deployment": self._workload(number)}
        return [first, first | {"instance": "twin"}] if alarm.has_twin else [first]

    def _resolve(self, number: int) -> None:
        for labels in self._labels(number):
            self.truth.resolve(labels)

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
        except _DATABASE_ERRORS as error:
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
                "asked while the database hung": len(self.probes),
                "kill switches thrown": len(self.standstills),
                "people's responses": len(self.answered),
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
                    "alerts gone by polling": sum("has been listed by no peer" in r["message"] for r in books.timeline),
                }
            )
        return figures


_AS_PERSON = {"Authorization": f"Bearer {API_TOKEN}"}
_PATIENCE = aiohttp.ClientTimeout(2)
_LONG_ENOUGH = 8.0
_NOTICED_WITHIN = 4.5
"""Seconds: a look each second, its answer, and another connection."""
_STANDING = ("id", "status", "phase", "wake_at", "lease_owner", "lease_until", "epoch", "nudges")
_WRITES = {"POST": "/eviction", "DELETE": "/pods/", "PATCH": "/deployments/"}

_LEASES_OF_THE_DEAD = """
UPDATE incidents SET lease_until = now() - interval '1 second' WHERE id IN (
    SELECT id FROM incidents
    WHERE lease_until > now() AND NOT (split_part(lease_owner, ':', 2)::int = ANY($1::int[]))
    FOR NO KEY UPDATE SKIP LOCKED
)
"""
_EVERY_WAIT_IS_OVER = """
UPDATE escalations SET due_at = now(), started_at = started_at - interval '40 minutes' WHERE due_at IS NOT NULL
"""
_IDLE_TRANSACTIONS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state LIKE 'idle in transaction%'
  AND state_change < now() - interval '0.7 seconds'
"""


def _number_of(labels: Mapping[str, str]) -> int:
    """Of the alarm, by its workload."""
    return int(labels["deployment"].rpartition("-")[2])


async def _read(line: Line) -> Books | None:
    """None where the database cannot be read now."""
    try:
        return await read_books(await line.connection())
    except _DATABASE_ERRORS:
        return None


async def _later(seconds: float, does: Callable[[], Awaitable[None]]) -> None:
    await asyncio.sleep(seconds)
    await does()
