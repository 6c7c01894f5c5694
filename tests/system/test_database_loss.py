"""The database is lost in every way it can be: alerts are refused at once, pages that were due still go out, and when
it is back everything goes on in the same process."""

import asyncio
import json
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from remediator.clients import sql_target
from remediator.domain.errors import Temporary
from remediator.engine.last_resort import MARK
from remediator.store import incidents
from remediator.store.connecting import LIMITS
from remediator.store.database import Database
from remediator.store.migrate import migrate
from remediator.store.watch import Watch
from tests.cluster.eventually import eventually
from tests.fakes.breakable_postgres import BreakablePostgres, SlowWire, small_disk
from tests.fakes.folders import open_to_all
from tests.fakes.pgbouncer import PgBouncer
from tests.fakes.ports import free_port
from tests.system.daemon import API_TOKEN, TOKEN, Client
from tests.system.rules import write_rules
from tests.system.test_crashes import serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

README = Path(__file__).parents[2] / "README.md"
ANSWERED_WITHIN = 2.0
POOLED_LIMITS = {name: value for name, value in LIMITS.items() if name not in ("application_name", "timezone")}
"""What PgBouncer does not hand on by itself."""
RULE = """
rule: told-at-once
summary: People are paged, nothing is fixed.
match:
  - '{alertname="Down"}'
severity: sev1
"""
LOOK = """
diagnose:
  front: {{ use: http_get, url: "{sink}/look" }}
"""
SEVERITIES = """
severities:
  sev1:
    title: Critical
    definition: Complete outage.
    respond_within: 5m
    policy: on-call
    page: at_once
"""
ESCALATION = """
policy: on-call
steps:
  - page: [alice]
    wait: 8s
repeat_every: 3s
"""
PEOPLE = """
people:
  alice:
    name: Alice
    reach:
      - { channel: sink }
"""


@dataclass
class Sink:
    """Where pages arrive."""

    pages: list[dict[str, Any]] = field(default_factory=list)
    looked: asyncio.Event = field(default_factory=asyncio.Event)
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    """To those who look."""

    async def look(self, _request: web.Request) -> web.Response:
        self.looked.set()
        await self.answers.wait()
        return web.Response()

    async def receive(self, request: web.Request) -> web.Response:
        self.pages.append({"id": request.headers["webhook-id"], **json.loads(await request.read())})
        return web.json_response({})

    def without_database(self) -> list[dict[str, Any]]:
        return [page for page in self.pages if MARK in page["title"]]


@pytest.fixture
async def sink() -> AsyncIterator[tuple[Sink, str]]:
    made = Sink()
    app = web.Application()
    app.add_routes([web.post("/", made.receive), web.get("/look", made.look)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield made, site.name
    await runner.cleanup()


@pytest.fixture(scope="module")
def postgres() -> Iterator[BreakablePostgres]:
    with tempfile.TemporaryDirectory(prefix="remediator-lost-") as folder:
        Path(folder).chmod(0o755)  # as root the server is another user
        started = asyncio.run(BreakablePostgres.start(open_to_all(folder) / "data"))
        yield started
        asyncio.run(started.stop())


@dataclass
class Scene:
    """A daemon that has paged for one alert, with the next page due in a few seconds."""

    client: Client
    process: asyncio.subprocess.Process
    sink: Sink

    async def ready(self) -> bool:
        async with self.client.session.get(f"{self.client.url}/readyz") as response:
            return response.status == 200

    async def unready(self) -> bool:
        return not await self.ready()

    async def metric(self, name: str) -> float:
        async with self.client.session.get(f"{self.client.url}/metrics") as response:
            lines = (await response.text()).splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))

    async def refused(self, instance: str, padding: str) -> float:
        """Seconds until the 503."""
        began = time.monotonic()
        assert await self.client.alert(alertname="Down", instance=instance, padding=padding) == 503
        return time.monotonic() - began

    async def told_of_pages_from_memory(self) -> bool:
        incident = await self.client.incident(1)
        return any("from memory" in entry["message"] for entry in incident["timeline"])

    async def paged_for(self, instance: str) -> None:
        """The ordinary way."""
        assert await self.client.alert(alertname="Down", instance=instance) == 202
        before = len(self.sink.pages)
        await eventually(lambda: _so(len(self.sink.pages) > before), within=20)


@asynccontextmanager
async def scene(folder: Path, dsn: str, sink: tuple[Sink, str], **environment: str) -> AsyncIterator[Scene]:
    async with serving(_environment(folder, dsn, sink[1]) | environment) as (process, client):
        made = Scene(client, process, sink[0])
        await made.paged_for("first")
        await eventually(lambda: _at_least(made, "remediator_watched_deadlines", 1), within=8)
        yield made


async def lost_and_found(made: Scene, losing: AbstractAsyncContextManager[None], *, padding: str = "") -> None:
    """What holds for every loss. `padding` makes an alert too large for the room that is left on a full disk."""
    async with losing:
        at_once = await made.refused("second", padding)
        await eventually(made.unready, within=10)
        known = await made.refused("third", padding)
        assert await made.metric("remediator_database_up") == 0
        await eventually(lambda: _so(bool(made.sink.without_database())), within=25)
        assert await made.metric("remediator_database_down_seconds") > 0
    await eventually(made.ready, within=20)

    page = made.sink.without_database()[0]
    assert page["id"] == "1:1:1:alice", "the key of the ordinary path"
    assert await made.metric("remediator_database_up") == 1
    await made.paged_for("fourth")
    await eventually(made.told_of_pages_from_memory, within=20)
    assert made.process.returncode is None
    assert max(at_once, known) < ANSWERED_WITHIN


@pytest.mark.parametrize("way", ["refusing", "crashed", "frozen", "read_only", "without_room"])
async def test_a_lost_database_costs_no_page_and_no_restart(
    way: str, postgres: BreakablePostgres, tmp_path: Path, sink: tuple[Sink, str]
) -> None:
    dsn = await postgres.database()

    async with scene(tmp_path, dsn, sink) as made:
        await lost_and_found(made, getattr(postgres, way)(dsn))


async def test_a_failover_to_a_standby_costs_no_page_no_restart_and_nothing_that_was_answered(
    tmp_path: Path, sink: tuple[Sink, str]
) -> None:
    with tempfile.TemporaryDirectory(prefix="remediator-failover-") as name:
        Path(name).chmod(0o777)  # as root the servers are another user
        primary = await BreakablePostgres.start(open_to_all(name) / "primary")
        ports = free_port(), free_port()
        await primary.listen_at(ports[0])
        standby = await primary.standby(Path(name) / "standby", ports[1])
        dsn = (await primary.database()).replace(f":{ports[0]}", f":{ports[0]},127.0.0.1:{ports[1]}")

        async with scene(tmp_path, dsn, sink) as made:
            assert await made.client.alert(alertname="Down", instance="told just before") == 202
            await lost_and_found(made, primary.succeeded_by(standby))

            await made.client.until(2, lambda incident: incident["phase"] == "handed_over")
        await standby.stop()


async def test_an_incident_whose_move_was_lost_goes_on_long_before_its_lease_has_run_out(
    postgres: BreakablePostgres, tmp_path: Path, sink: tuple[Sink, str]
) -> None:
    """The lease is a minute: it was for whoever takes over from the dead, and nobody died."""
    people, url = sink
    dsn = await postgres.database()

    async with serving(_environment(tmp_path, dsn, url, RULE + LOOK.format(sink=url))) as (process, client):
        made = Scene(client, process, people)
        assert await client.alert(alertname="Down") == 202
        await people.looked.wait()
        async with postgres.crashed(dsn):
            people.answers.set()
            await eventually(made.unready, within=10)
        await eventually(made.ready, within=20)
        await client.until(1, lambda incident: incident["phase"] == "handed_over")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a disk that is small enough to fill")
async def test_a_full_disk_costs_no_page_and_no_restart(
    postgres: BreakablePostgres, tmp_path: Path, sink: tuple[Sink, str]
) -> None:
    async with small_disk(postgres.folder.parent / "disk") as disk:
        await postgres.run(f"CREATE TABLESPACE small LOCATION '{disk}'")
        dsn = await postgres.database("small")

        try:
            async with scene(tmp_path, dsn, sink) as made:
                await lost_and_found(made, postgres.full(disk), padding=secrets.token_hex(50_000))
        finally:  # else the server does not start again once the disk is gone
            await postgres.drop(dsn)
            await postgres.run("DROP TABLESPACE small")


async def test_a_database_that_is_too_slow_costs_no_page_and_no_restart(
    postgres: BreakablePostgres, tmp_path: Path, sink: tuple[Sink, str]
) -> None:
    wire = SlowWire()

    async with wire.before(await postgres.database(), tmp_path) as dsn, scene(tmp_path, dsn, sink) as made:
        await lost_and_found(made, wire.slow(dsn))


async def test_a_pooler_in_transaction_mode_costs_nothing_and_its_loss_is_the_databases(
    postgres: BreakablePostgres, tmp_path: Path, sink: tuple[Sink, str]
) -> None:
    """Set up as README.md says for PgBouncer before 1.21."""
    dsn = await postgres.database()
    for name, value in POOLED_LIMITS.items():
        await postgres.limit(dsn, name, value)

    async with (
        PgBouncer.before(dsn, tmp_path, ignoring=",".join(POOLED_LIMITS)) as pooler,
        scene(tmp_path, pooler.dsn, sink, REMEDIATOR_DATABASE_STATEMENT_CACHE="0") as made,
    ):
        crowd = [made.client.alert(alertname="Down", instance=f"crowd {number}") for number in range(100)]
        assert set(await asyncio.gather(*crowd)) == {202}
        assert await postgres.number("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0
        await lost_and_found(made, pooler.gone())


async def test_a_command_that_reads_leaves_the_poolers_session_as_it_was(
    postgres: BreakablePostgres, tmp_path: Path
) -> None:
    """It is the daemon's next, and a session that is read-only stores no alert."""
    dsn = await postgres.database()
    await migrate(dsn)

    async with PgBouncer.before(dsn, tmp_path, ignoring=",".join(POOLED_LIMITS)) as pooler:
        pooled = {"REMEDIATOR_DATABASE_URL": pooler.dsn, "REMEDIATOR_DATABASE_STATEMENT_CACHE": "0"}
        assert await _run("deliveries", "list", **pooled) == 0
        connection = await asyncpg.connect(pooler.dsn, statement_cache_size=0)
        assert await connection.fetchval("SHOW default_transaction_read_only") == "off"
        await connection.close()


async def test_a_pooler_that_is_not_set_up_for_us_is_named_with_what_to_do(
    postgres: BreakablePostgres, tmp_path: Path
) -> None:
    dsn = await postgres.database()
    await migrate(dsn)

    async with PgBouncer.before(dsn, tmp_path) as strict:
        with pytest.raises(Temporary, match=r"statement_timeout.*ignore_startup_parameters"):
            await migrate(strict.dsn)
    async with (
        PgBouncer.before(dsn, tmp_path, ignoring=",".join(POOLED_LIMITS)) as forgetful,
        Database.open(forgetful.dsn, pool=8) as database,
    ):
        with pytest.raises(Temporary, match="REMEDIATOR_DATABASE_STATEMENT_CACHE=0"):
            await asyncio.gather(*[_look(database) for _ in range(100)])


def test_the_readme_names_the_limits_that_a_pooler_takes_from_us() -> None:
    assert f"`ignore_startup_parameters =\n{','.join(POOLED_LIMITS)}`" in README.read_text()


async def test_a_daemon_without_a_database_answers_and_goes_on_when_it_comes(
    postgres: BreakablePostgres, tmp_path: Path, sink: tuple[Sink, str]
) -> None:
    dsn = await postgres.database()

    async with starting(_environment(tmp_path, dsn, sink[1])) as (process, client):
        async with postgres.refusing(dsn):
            await eventually(lambda: _answers(client, "/healthz", 200), within=30)
            assert await _answers(client, "/readyz", 503)
            assert await client.alert(alertname="Down") == 503
        await eventually(lambda: _answers(client, "/readyz", 200), within=20)

        assert await client.alert(alertname="Down") == 202
        assert process.returncode is None


async def test_a_daemon_gives_up_where_no_database_comes_and_ends_at_once_when_told_to(
    tmp_path: Path, sink: tuple[Sink, str]
) -> None:
    nowhere = _environment(tmp_path, f"postgresql://postgres@/x?host={tmp_path}", sink[1])

    async with starting(nowhere | {"REMEDIATOR_DATABASE_WAIT_SECONDS": "1"}) as (process, _):
        assert await asyncio.wait_for(process.wait(), 30) == 1
    async with starting(nowhere) as (process, client):
        await eventually(lambda: _answers(client, "/healthz", 200), within=30)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 10) == 0


async def test_a_link_that_one_replica_signed_is_good_on_every_other(
    postgres: BreakablePostgres, tmp_path: Path, sink: tuple[Sink, str]
) -> None:
    dsn = await postgres.database()
    other = _environment(tmp_path / "other", dsn, sink[1])

    async with scene(tmp_path / "one", dsn, sink) as made, serving(other) as (_, client):
        [page] = [page for page in sink[0].pages if page["dedup_key"] == "1:1:0:alice"]
        path = page["acknowledge_url"].removeprefix(made.client.url)
        async with client.session.post(client.url + path) as answer:
            assert answer.status == 200
        assert (await client.incident(1))["status"] == "acknowledged"


async def test_connections_that_are_cut_are_made_anew(
    postgres: BreakablePostgres, tmp_path: Path, sink: tuple[Sink, str]
) -> None:
    dsn = await postgres.database()

    async with scene(tmp_path, dsn, sink) as made:
        await postgres.cut_connections(dsn)
        await eventually(lambda: _accepted(made, "second"), within=5)

        assert await made.ready()
        assert made.sink.without_database() == []


async def test_an_embedded_server_that_was_killed_is_started_again(tmp_path: Path, sink: tuple[Sink, str]) -> None:
    with tempfile.TemporaryDirectory(prefix="remediator-killed-") as name:  # pytest closes its own to other users
        data = open_to_all(name)
        environment = _environment(tmp_path, "", sink[1]) | {"REMEDIATOR_DATA_DIR": name}

        async with serving(environment) as (process, client):
            made = Scene(client, process, sink[0])
            await made.paged_for("first")
            os.kill(int((data / "postgresql" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
            await eventually(made.unready, within=10)
            await eventually(made.ready, within=40)
            await made.paged_for("second")

            process.terminate()
            assert await asyncio.wait_for(process.wait(), 40) == 0


async def test_a_primary_whose_commits_wait_for_a_standby_is_lost(postgres: BreakablePostgres) -> None:
    """Whatever is rolled back waits for none, and no time-out of the server ends such a wait."""
    dsn = await postgres.database()
    async with Database.open(dsn) as database:
        watch, is_back = Watch(dsn, database, statements_kept=100), asyncio.Event()

        async def write() -> None:
            """Again, until one waits: the server hears of the setting a while after it was told."""
            while not is_back.is_set():
                async with database.transaction() as tx:
                    await tx.execute("CREATE TABLE IF NOT EXISTS written (at timestamptz)")
                    await tx.execute("INSERT INTO written VALUES (now())")

        async def is_well() -> bool:
            database.health.cast_doubt("no answer in time")
            await watch.look()
            return database.health.is_well

        async def is_lost() -> bool:
            return not await is_well()

        await migrate(dsn)
        async with postgres.without_standby():
            writing = asyncio.create_task(write())
            await eventually(is_lost, within=5)
        is_back.set()
        await writing
        await eventually(is_well, within=5)
        watch.hang_up()


async def test_a_frozen_server_of_somebody_else_holds_up_no_look(
    postgres: BreakablePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_target, "STATEMENT_SECONDS", 0.5)
    dsn = await postgres.database()

    async with sql_target.connect_sql_target("main", dsn) as target:
        await target.query("SELECT 1")
        async with postgres.frozen(dsn):
            began = time.monotonic()
            with pytest.raises(Temporary):
                await target.query("SELECT 1")
            assert time.monotonic() - began < 7
        assert (await target.query("SELECT 1")).count == 1


@asynccontextmanager
async def starting(environment: dict[str, str]) -> AsyncIterator[tuple[asyncio.subprocess.Process, Client]]:
    """`remediator serve`, ready or not."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-m", "remediator", "serve", env=os.environ | environment
    )
    try:
        async with aiohttp.ClientSession() as session:
            yield process, Client(f"http://127.0.0.1:{environment['REMEDIATOR_PORT']}", session)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _run(*command: str, **environment: str) -> int:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-m", "remediator", *command, env=os.environ | environment
    )
    return await process.wait()


async def _look(database: Database) -> None:
    async with database.connection() as connection:
        await incidents.list_incidents(connection)


async def _answers(client: Client, path: str, status: int) -> bool:
    try:
        async with client.session.get(client.url + path) as response:
            return response.status == status
    except aiohttp.ClientConnectionError:
        return False


async def _so(fact: bool) -> bool:
    return fact


async def _at_least(made: Scene, metric: str, least: float) -> bool:
    return await made.metric(metric) >= least


async def _accepted(made: Scene, instance: str) -> bool:
    return await made.client.alert(alertname="Down", instance=instance) == 202


def _environment(folder: Path, dsn: str, sink: str, rule: str = RULE) -> dict[str, str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    channels = f"channels:\n  sink: {{ use: webhook, url: '{sink}', secret: hook }}\n"
    rules = {
        "service-down": rule,
        "severities": SEVERITIES,
        "escalation__on-call": ESCALATION,
        "oncall__people": PEOPLE,
        "oncall__channels": channels,
    }
    return {
        "DATABASE_URL": dsn,  # empty: the embedded one
        "REMEDIATOR_MODE": "act",
        "REMEDIATOR_PORT": str(port),
        "REMEDIATOR_DATA_DIR": str(folder / "data"),
        "REMEDIATOR_RULES_DIR": str(write_rules(folder / "rules", **rules)),
        "REMEDIATOR_WEBHOOKS__TOKENS": f'{{"alertmanager": ["{TOKEN}"]}}',
        "REMEDIATOR_API_TOKENS": f'{{"tests": {{"token": "{API_TOKEN}", "roles": ["read", "respond"]}}}}',
        "REMEDIATOR_SECRETS": '{"hook": "a-secret"}',
        "REMEDIATOR_ENGINE__POLL_SECONDS": "0.2",
        "REMEDIATOR_LAST_RESORT__GRACE_SECONDS": "1",
        "REMEDIATOR_LAST_RESORT__TELL_AFTER_SECONDS": "3600",
    }
