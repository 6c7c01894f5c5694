"""The composition root: builds the daemon from its settings, starts it in order, stops it in reverse."""

import asyncio
import gc
import os
import random
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeVar, cast

import structlog
from aiohttp import web

from remediator.clients.alertmanager import PeerKind
from remediator.connections import Connections, connect, database_address, demand_a_database
from remediator.domain.episode import Filing
from remediator.domain.errors import BadDocument, Temporary
from remediator.domain.ids import SourceName
from remediator.domain.mode import Mode
from remediator.engine.bell import Bell
from remediator.engine.clock import DatabaseClock
from remediator.engine.courier import Courier
from remediator.engine.crossed_ends import CrossedEnds
from remediator.engine.desk import Desk
from remediator.engine.escalate import Escalator
from remediator.engine.figures import Figures
from remediator.engine.guidance import GuidanceReader
from remediator.engine.intake import Intake
from remediator.engine.journal import Journal
from remediator.engine.last_resort import LastResort, Terms
from remediator.engine.links import Links
from remediator.engine.pages import PageWriter
from remediator.engine.reconcile import AttentiveIntake, Polled, Reconciler
from remediator.engine.respond import Responder
from remediator.engine.retention import Retention
from remediator.engine.right_of_way import RightOfWay
from remediator.engine.rules_in_force import NamedChannels, RulesInForce, remember
from remediator.engine.strays import Strays
from remediator.engine.unpolled import Unpolled
from remediator.engine.worker import Pace, Worker
from remediator.logs import configure_logs
from remediator.metrics import Metrics
from remediator.rules.rulebook import Rulebook
from remediator.secrets_kept import api_tokens, link_secret
from remediator.settings import ApiToken, Days, Settings
from remediator.store import retention, rounds
from remediator.store.database import Connection, Database
from remediator.store.health import Health
from remediator.store.migrate import migrate, status
from remediator.store.watch import Watch
from remediator.toolbox import Messengers, system_clock
from remediator.web.api import Api
from remediator.web.auth import ApiGate, Gate
from remediator.web.ops import Ops
from remediator.web.pages import Pages
from remediator.web.server import listen, make_app
from remediator.web.sources import SourcesApi
from remediator.web.waiting import WaitingRoom
from remediator.web.webhooks import Webhooks

log = structlog.get_logger()

A = TypeVar("A")
B = TypeVar("B")

YOUNG_OBJECTS = 20_000
"""Before the collector looks for cycles. A body of alerts makes thousands of objects and not one cycle."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running Remediator."""

    url: str
    rules: RulesInForce
    database: Database
    metrics: Metrics


async def serve_until_stopped(settings: Settings) -> None:
    """Runs until SIGTERM or SIGINT; SIGHUP reloads the rules."""
    configure_logs(settings.log_level, settings.log_format)
    stop, started, other_rules = asyncio.Event(), asyncio.Event(), asyncio.Event()
    loop, starting = asyncio.get_running_loop(), asyncio.current_task()

    def end() -> None:
        stop.set()
        if starting is not None and not started.is_set():
            starting.cancel()  # it may be waiting for a database that never comes

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, other_rules.set)  # unheard, it would end a start that waits for its database
    try:
        async with daemon(settings) as running, _running(_reload_when_told(running, other_rules)):
            started.set()
            # What is here now stays: the collector need not walk it again, only what the work leaves behind.
            gc.freeze()
            gc.set_threshold(YOUNG_OBJECTS, 20, 50)
            gc.enable()
            await stop.wait()
            log.info("stopping")
    except asyncio.CancelledError:
        if started.is_set() or not stop.is_set():
            raise
        log.info("stopped while starting")


async def _reload_when_told(running: Daemon, other_rules: asyncio.Event) -> None:
    """Until cancelled. One after the other: of two at once, the one that has read the older files may be done last."""
    while True:
        await other_rules.wait()
        other_rules.clear()
        await running.rules.reload(running.database, running.metrics)


async def migrate_only(settings: Settings, *, only_status: bool) -> Sequence[str]:
    """Names of the migrations that were applied or, with `only_status`, would be."""
    if only_status:
        demand_a_database(settings)
    async with database_address(settings) as dsn:
        return await (status(dsn) if only_status else migrate(dsn))


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[Connection]:
    """The daemon's database, for a command that changes nothing and may take its time. Raises `BadDocument` where it is
    not there yet."""
    demand_a_database(settings)
    async with database_address(settings) as dsn:
        if await status(dsn):
            raise BadDocument("the database lacks migrations of this release: `remediator migrate` applies them")
        opening = Database.open(dsn, pool=1, statements_kept=settings.database_statement_cache)
        async with opening as database, database.transaction() as tx:
            # Of this transaction alone: behind a pooler the session is the daemon's as soon as we are gone.
            await tx.execute("SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = '5min'")
            yield tx


async def report_retention(settings: Settings) -> tuple[Sequence[retention.Kept], rounds.LastRound]:
    async with reading(settings) as connection:
        return await retention.report(connection, _keep(settings)), await rounds.last(connection)


@asynccontextmanager
async def daemon(settings: Settings) -> AsyncIterator[Daemon]:
    """Ready when entered. Leaves in reverse: no new alerts, then no new work, then the connections.

    Raises `BadDocument` where settings or rules forbid a start, `Temporary` where the database could not be reached
    for as long as the settings say. Until then the port answers that we are alive and not ready.
    """
    _demand_authentication(settings)
    async with AsyncExitStack() as stack:
        port = stack.enter_context(_bound(settings))
        opened = await _opened_in_time(settings, port, stack=stack)
        rules, database = opened.rules, opened.database
        connections = await stack.enter_async_context(connect(settings))
        _warn_of_mute_channels(rules.rulebook(), connections.messengers)
        url = f"http://{settings.host}:{port.getsockname()[1]}"
        parts = _build(settings, connections, opened, url=url)
        await stack.enter_async_context(_running(*parts.loops))
        await stack.enter_async_context(listen(parts.web, port))
        log.info("listening", url=url, mode=settings.mode, rules=len(rules.rulebook().rules))
        yield Daemon(url, rules, database, parts.metrics)


async def _both(one: Awaitable[A], other: Awaitable[B]) -> tuple[A, B]:
    """At once: starting a database is waiting, reading rules is not. Both are over when this ends, or raises."""
    results = await asyncio.gather(one, other, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast("tuple[A, B]", tuple(results))


@dataclass(frozen=True, slots=True)
class _Opened:
    """Our database, ready to be used, and the rules, remembered in it."""

    rules: RulesInForce
    database: Database
    watch: Watch
    link_secret: bytes
    api_tokens: Mapping[str, ApiToken]


@dataclass(slots=True)
class _Start:
    """What must be there first. A restart does not cure a database that is away, so a start waits for it; but not for
    ever: what names the database may have changed, and only a restart reads it again."""

    stack: AsyncExitStack
    waiting: WaitingRoom
    give_up_at: float
    is_in_vain: bool = False

    async def entered(self, opening: Callable[[], AbstractAsyncContextManager[A]]) -> A:
        while True:
            try:
                return await self.stack.enter_async_context(opening())
            except Temporary as error:
                if self.is_in_vain or time.monotonic() > self.give_up_at:
                    raise
                self.waiting.wait_for(str(error))
            await asyncio.sleep(random.uniform(0.5, 1))  # noqa: S311  # spreads load, guards nothing

    async def rules(self, settings: Settings) -> RulesInForce:
        try:
            return await asyncio.to_thread(
                RulesInForce.load, settings.rules_dir, _named_channels(settings), lease=_lease(settings)
            )
        except BadDocument:
            self.is_in_vain = True
            raise


async def _opened_in_time(settings: Settings, port: socket.socket, *, stack: AsyncExitStack) -> _Opened:
    waiting = WaitingRoom()
    start = _Start(stack, waiting, time.monotonic() + settings.database_wait_seconds)
    async with listen(make_app(waiting, body_limit=settings.body_limit_mib << 20, elsewhere=waiting.later), port.dup()):
        rules, dsn = await _both(start.rules(settings), start.entered(partial(database_address, settings)))
        return await start.entered(partial(_opened, settings, rules, dsn))


def _named_channels(settings: Settings) -> NamedChannels:
    review = settings.review_channel
    return {"last_resort.channels": settings.last_resort.channels, "review_channel": (review,) if review else ()}


@asynccontextmanager
async def _opened(settings: Settings, rules: RulesInForce, dsn: str) -> AsyncIterator[_Opened]:
    await migrate(dsn)
    statements_kept = settings.database_statement_cache
    async with Database.open(dsn, pool=settings.database_pool, statements_kept=statements_kept) as database:
        await remember(rules.rulebook(), database)
        yield _Opened(
            rules=rules,
            database=database,
            watch=Watch(dsn, database, statements_kept=statements_kept),
            link_secret=await link_secret(settings, database),
            api_tokens=await api_tokens(settings, database),
        )


@dataclass(frozen=True, slots=True)
class _Parts:
    web: web.Application
    loops: tuple[Coroutine[None, None, None], ...]
    metrics: Metrics


def _build(settings: Settings, connections: Connections, opened: _Opened, *, url: str) -> _Parts:
    """Every part, connected; nothing runs yet."""
    rules, database = opened.rules, opened.database
    ceiling, poll = Mode(settings.mode), timedelta(seconds=settings.engine.poll_seconds)
    address = settings.public_url or url
    metrics, clock = Metrics(), DatabaseClock()
    work_bell, page_bell, courier_bell, ends_bell = Bell(), Bell(), Bell(), Bell()
    links = Links(opened.link_secret, clock)
    writer = PageWriter(address, links)
    intake = Intake(database, rules.rulebook, ceiling=ceiling, metrics=metrics, bells=(work_bell, page_bell, ends_bell))
    reconciler = Reconciler(database, intake, polled_sources(settings, connections), metrics=metrics)
    worker = Worker(
        database,
        rules.rulebook,
        _desk(settings, connections, opened, clock=clock),
        writer,
        pace=_pace(settings),
        clock=clock,
        bells=(work_bell, page_bell),
        metrics=metrics,
    )
    ordering = RightOfWay()
    escalator = Escalator(
        database, rules.rulebook, writer, page_bell, courier_bell, ordering, poll, metrics, settings.review_channel
    )
    courier = Courier(
        database,
        rules.rulebook,
        connections.messengers,
        writer,
        bell=courier_bell,
        after_escalator=ordering,
        poll=poll,
        metrics=metrics,
    )
    last_resort = _last_resort(settings, connections, opened, clock=clock, writer=writer, metrics=metrics)
    every = timedelta(seconds=settings.retention.every_seconds)
    clearing = Retention(database, rules.rulebook, _keep(settings), every, metrics)
    strays = Strays(database, rules.rulebook, ceiling, (work_bell, page_bell), metrics)
    responder = Responder(database, writer, work_bell)
    metrics.begin_at_zero(channels=rules.rulebook().roster.channels, filings=Filing, polled=settings.sources)
    metrics.follow_rules(rules.files_with)
    metrics.follow_database(lambda: database.health.is_well, lambda: database.health.down_for)
    return _Parts(
        web=_web(
            settings,
            database,
            intake=AttentiveIntake(intake, reconciler),
            responder=responder,
            links=links,
            guidance=GuidanceReader(database, rules.rulebook),
            gate=ApiGate(opened.api_tokens),
            metrics=metrics,
        ),
        loops=(
            opened.watch.run(),
            last_resort.run(),
            intake.run(),
            worker.run(),
            escalator.run(),
            courier.run(),
            reconciler.run(),
            Unpolled(database, tuple(map(SourceName, settings.sources))).run(),
            strays.run(),
            CrossedEnds(database, intake, ends_bell).run(),
            rules.keep_current(database, metrics),
            clearing.run(),
            Figures(database, metrics).run(),
        ),
        metrics=metrics,
    )


def _desk(settings: Settings, connections: Connections, opened: _Opened, *, clock: DatabaseClock) -> Desk:
    journal = Journal(opened.database, opened.rules.rulebook, Mode(settings.mode))
    return Desk(
        tools=connections.tools,
        clock=clock,
        read_rule=journal.rule,
        read_ledger=journal.ledger,
        read_intent=journal.intent,
        read_stand_in=journal.stand_in,
        global_guards=lambda: opened.rules.rulebook().guards,
        recheck=timedelta(seconds=settings.engine.recheck_seconds),
        writers=connections.writers,
    )


def _pace(settings: Settings) -> Pace:
    return Pace(
        owner=f"{socket.gethostname()}:{os.getpid()}",
        slots=settings.engine.workers,
        lease=_lease(settings),
        poll=timedelta(seconds=settings.engine.poll_seconds),
    )


def _lease(settings: Settings) -> timedelta:
    return timedelta(seconds=settings.engine.lease_seconds)


def _last_resort(
    settings: Settings,
    connections: Connections,
    opened: _Opened,
    *,
    clock: DatabaseClock,
    writer: PageWriter,
    metrics: Metrics,
) -> LastResort:
    told = settings.last_resort
    return LastResort(
        opened.database,
        opened.rules.rulebook,
        connections.messengers,
        terms=Terms(told.channels, timedelta(seconds=told.grace_seconds), timedelta(seconds=told.tell_after_seconds)),
        ceiling=Mode(settings.mode),
        clock=clock,
        writer=writer,
        metrics=metrics,
    )


def _web(
    settings: Settings,
    database: Database,
    *,
    intake: AttentiveIntake,
    responder: Responder,
    links: Links,
    guidance: GuidanceReader,
    gate: ApiGate,
    metrics: Metrics,
) -> web.Application:
    body_limit = settings.body_limit_mib << 20
    return make_app(
        Webhooks(intake, Gate(settings.webhooks, system_clock), metrics=metrics, body_limit=body_limit),
        Api(database, responder, guidance=guidance, gate=gate),
        SourcesApi(database, tuple(map(SourceName, settings.sources)), gate=gate),
        Pages(database, responder, links=links, guidance=guidance, gate=gate),
        Ops(metrics, partial(_unready, database.health)),
        body_limit=body_limit,
    )


def _keep(settings: Settings) -> retention.Keep:
    days = settings.retention
    return retention.Keep(_age(days.raw_days), _age(days.decisions_days), _age(days.diagnostics_days))


def _age(days: Days) -> timedelta | None:
    return None if days == "forever" else timedelta(days=days)


def polled_sources(settings: Settings, connections: Connections) -> tuple[Polled, ...]:
    """Warns of those whose webhooks would be recorded under another name: each of their alerts would be two."""
    hooks = settings.webhooks
    senders = {*hooks.tokens, *hooks.basic, *hooks.grafana}
    for name, source in settings.sources.items():
        # Who does not say who it is, is recorded under the path that it posts to.
        if name not in senders and not (hooks.allow_unauthenticated and name == source.kind):
            nameless = {source.kind} if hooks.allow_unauthenticated else set()
            log.warning(
                "polled source has no webhook sender of its name", source=name, senders=sorted(senders | nameless)
            )
    return tuple(
        Polled(
            source=SourceName(name),
            kind=PeerKind(source.kind),
            receiver=source.receiver,
            every=timedelta(seconds=source.every_seconds),
            peers=connections.peers[name],
        )
        for name, source in settings.sources.items()
    )


def _warn_of_mute_channels(rulebook: Rulebook, messengers: Messengers) -> None:
    """No reason not to start: other channels take their pages, and an alert must be stored."""
    for name in sorted(rulebook.roster.channels):
        if lacking := rulebook.notifier(name).lacks(messengers):
            log.warning("channel cannot send, the settings lack what it needs", channel=name, lacks=lacking)


async def _unready(health: Health) -> list[str]:
    """Why no traffic should come here; empty when ready. Known already: nobody is asked."""
    return [] if health.is_well else [f"{health.reason}, for {health.down_for.total_seconds():.0f} s"]


@asynccontextmanager
async def _running(*loops: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Runs the loops beside the body. One that dies takes the daemon down: its supervisor starts it afresh."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop) for loop in loops]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _bound(settings: Settings) -> socket.socket:
    """The port, taken before anything needs our address; port 0 takes a free one."""
    try:
        return socket.create_server((settings.host, settings.port), backlog=4096, reuse_port=False)
    except OSError as error:
        raise BadDocument(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from error


def _demand_authentication(settings: Settings) -> None:
    hooks = settings.webhooks
    if not (hooks.tokens or hooks.basic or hooks.grafana or hooks.allow_unauthenticated):
        raise BadDocument(
            "webhooks have no authentication: set REMEDIATOR_WEBHOOKS__TOKENS, __BASIC or __GRAFANA "
            "(or, on a laptop, pass --insecure-no-auth)"
        )
