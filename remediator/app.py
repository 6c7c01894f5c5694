"""The composition root: builds the daemon from its settings, starts it in order, stops it in reverse."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeVar, cast

import structlog
from aiohttp import web

from remediator.connections import Connections, connect, database_address
from remediator.domain.errors import BadDocument, Temporary
from remediator.domain.mode import Mode
from remediator.engine.bell import Bell
from remediator.engine.clock import DatabaseClock
from remediator.engine.courier import Courier
from remediator.engine.desk import Desk
from remediator.engine.escalate import Escalator
from remediator.engine.intake import Intake
from remediator.engine.journal import Journal
from remediator.engine.links import Links
from remediator.engine.pages import PageWriter
from remediator.engine.respond import Responder
from remediator.engine.rules_in_force import RulesInForce, remember
from remediator.engine.worker import Pace, Worker
from remediator.logs import configure_logs
from remediator.metrics import Metrics
from remediator.secrets_kept import api_tokens, link_secret
from remediator.settings import Settings
from remediator.store.database import Database
from remediator.store.migrate import migrate, status
from remediator.toolbox import system_clock
from remediator.web.api import Api
from remediator.web.auth import ApiGate, Gate
from remediator.web.ops import Ops
from remediator.web.pages import Pages
from remediator.web.server import listen, make_app
from remediator.web.webhooks import Webhooks

log = structlog.get_logger()

A = TypeVar("A")
B = TypeVar("B")

CHANNEL = "remediator"
"""The database's notification channel by which replicas hint at new work."""


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
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with daemon(settings) as running, asyncio.TaskGroup() as reloads:
        # What is here now stays: the collector need not walk it again, only what the work leaves behind.
        gc.freeze()
        gc.enable()
        loop.add_signal_handler(
            signal.SIGHUP, lambda: reloads.create_task(running.rules.reload(running.database, running.metrics))
        )
        await stop.wait()
        log.info("stopping")


async def migrate_only(settings: Settings, *, only_status: bool) -> Sequence[str]:
    """Names of the migrations that were applied or, with `only_status`, would be."""
    async with database_address(settings) as dsn:
        return await (status(dsn) if only_status else migrate(dsn))


@asynccontextmanager
async def daemon(settings: Settings) -> AsyncIterator[Daemon]:
    """Ready when entered. Leaves in reverse: no new alerts, then no new work, then the connections.

    Raises `BadDocument` where settings or rules forbid a start, `Temporary` where the database cannot be reached.
    """
    _demand_authentication(settings)
    async with AsyncExitStack() as stack:
        rules, dsn = await _both(
            asyncio.to_thread(RulesInForce.load, settings.rules_dir),
            stack.enter_async_context(database_address(settings)),
        )
        await migrate(dsn)
        database = await stack.enter_async_context(Database.open(dsn, pool=settings.database_pool))
        await remember(rules.rulebook(), database)
        connections = await stack.enter_async_context(connect(settings))
        port = stack.enter_context(_bound(settings))
        url = f"http://{settings.host}:{port.getsockname()[1]}"
        parts = _build(settings, connections, rules, database=database, url=url)
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
class _Parts:
    web: web.Application
    loops: tuple[Coroutine[None, None, None], ...]
    metrics: Metrics


def _build(
    settings: Settings, connections: Connections, rules: RulesInForce, *, database: Database, url: str
) -> _Parts:
    """Every part, connected; nothing runs yet."""
    ceiling = Mode(settings.mode)
    poll = timedelta(seconds=settings.engine.poll_seconds)
    metrics, clock = Metrics(), DatabaseClock()
    work_bell, page_bell, courier_bell = Bell(), Bell(), Bell()
    links = Links(link_secret(settings), clock)
    writer = PageWriter(settings.public_url or url, links)
    journal = Journal(database, ceiling)
    desk = Desk(
        tools=connections.tools,
        clock=clock,
        read_ledger=journal.ledger,
        read_intent=journal.intent,
        global_guards=lambda: rules.rulebook().guards,
        recheck=timedelta(seconds=settings.engine.recheck_seconds),
        writers=connections.writers,
    )
    pace = Pace(
        owner=f"{socket.gethostname()}:{os.getpid()}",
        slots=settings.engine.workers,
        lease=timedelta(seconds=settings.engine.lease_seconds),
        poll=poll,
    )
    intake = Intake(database, rules.rulebook, ceiling=ceiling, metrics=metrics, bells=(work_bell, page_bell))
    worker = Worker(
        database,
        rules.rulebook,
        desk,
        writer,
        pace=pace,
        clock=clock,
        bells=(work_bell, page_bell),
        metrics=metrics,
    )
    escalator = Escalator(
        database, rules.rulebook, writer, page_bell, courier_bell, poll, metrics, settings.review_channel
    )
    courier = Courier(database, rules.rulebook, connections.messengers, courier_bell, poll, metrics)
    responder = Responder(database, writer, work_bell)
    gate = ApiGate(api_tokens(settings))
    body_limit = settings.body_limit_mib << 20
    return _Parts(
        web=make_app(
            Webhooks(intake, Gate(settings.webhooks, system_clock), metrics=metrics, body_limit=body_limit),
            Api(database, responder, gate=gate),
            Pages(database, responder, links=links, gate=gate),
            Ops(metrics, partial(_unready, database)),
            body_limit=body_limit,
        ),
        loops=(
            intake.run(),
            worker.run(),
            escalator.run(),
            courier.run(),
            rules.keep_current(database, metrics),
        ),
        metrics=metrics,
    )


async def _unready(database: Database) -> list[str]:
    """Why no traffic should come here; empty when ready."""
    try:
        await database.ping()
    except Temporary as error:
        return [f"database: {error}"]
    return []


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
