"""Other people's systems, connected as the settings say. What may write is built only above observe mode."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from remediator.clients.alertmanager import LONGEST_ANSWER, Alertmanager, PeerKind, basic, bearer
from remediator.clients.http import HttpClient, open_http
from remediator.clients.kubernetes import KubernetesConnection, connect_kubernetes
from remediator.clients.prometheus import Prometheus
from remediator.clients.redis_target import RedisReader, RedisWriter, connect_redis
from remediator.clients.smtp import Mailer
from remediator.clients.sql_target import SqlTarget, connect_sql_target
from remediator.domain.errors import BadDocument
from remediator.domain.mode import Mode
from remediator.settings import PolledSource, PrometheusServer, Settings, Smtp
from remediator.store.embedded import EmbeddedPostgres
from remediator.toolbox import Clock, Messengers, Toolbox, WriteToolbox, system_clock


@dataclass(frozen=True, slots=True)
class Connections:
    tools: Toolbox
    messengers: Messengers
    writers: WriteToolbox | None
    """None in observe mode."""
    peers: Mapping[str, tuple[Alertmanager, ...]]
    """Of each source that is polled."""


@asynccontextmanager
async def connect(settings: Settings, clock: Clock = system_clock) -> AsyncIterator[Connections]:
    """Nothing is sent yet: a system that is down must not keep the daemon from starting."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(open_http(private_networks=settings.private_networks))
        # Looks at what hangs hold their connections until they time out, and no page may wait for one of those.
        paging = await stack.enter_async_context(
            open_http(private_networks=settings.private_networks, most_connections=None)
        )
        kubernetes = await _kubernetes(settings, stack)
        redis = {
            name: await stack.enter_async_context(connect_redis(name, url.get_secret_value()))
            for name, url in settings.redis.items()
        }
        tools = Toolbox(
            http=http,
            clock=clock,
            kubernetes_reader=kubernetes.reader if kubernetes else None,
            databases=await _databases(settings, stack),
            redis_readers={name: reader for name, (reader, _) in redis.items()},
            prometheus_servers={name: _prometheus(name, server, http) for name, server in settings.prometheus.items()},
        )
        yield Connections(
            tools,
            Messengers(paging, _mailer(settings.smtp), _secrets(settings), clock),
            None if Mode(settings.mode) is Mode.OBSERVE else _writers(tools, kubernetes, redis),
            {name: peers_of(source, http) for name, source in settings.sources.items()},
        )


@asynccontextmanager
async def database_address(settings: Settings) -> AsyncIterator[str]:
    """The DSN of our own database; starts the embedded PostgreSQL where the settings name none."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    server = await EmbeddedPostgres.start(_embedded_folder(settings))
    keeper = asyncio.create_task(server.keep_running())
    try:
        yield server.dsn
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
        await server.stop()


def demand_a_database(settings: Settings) -> None:
    """For whoever only looks: looking must not make one. Raises `BadDocument`."""
    folder = _embedded_folder(settings)
    if settings.database_url is None and not folder.is_dir():
        raise BadDocument(
            f"there is no database to look at: DATABASE_URL is not set, and {folder} is not there; set DATABASE_URL, "
            "or REMEDIATOR_DATA_DIR to the folder in which the daemon keeps its data"
        )


def _embedded_folder(settings: Settings) -> Path:
    return settings.data_dir / "postgresql"


def peers_of(source: PolledSource, http: HttpClient) -> tuple[Alertmanager, ...]:
    """A peer that is slower than the polls come has not answered."""
    timeout = min(LONGEST_ANSWER, timedelta(seconds=source.every_seconds))
    return tuple(Alertmanager(url, PeerKind(source.kind), http, _login(source), timeout) for url in source.peers)


def _login(source: PolledSource) -> str:
    if source.token is not None:
        return bearer(source.token.get_secret_value())
    return basic(source.basic.user, source.basic.password.get_secret_value()) if source.basic is not None else ""


def _writers(
    tools: Toolbox,
    kubernetes: KubernetesConnection | None,
    redis: dict[str, tuple[RedisReader, RedisWriter]],
) -> WriteToolbox:
    return WriteToolbox(
        look=tools,
        kubernetes_writer=kubernetes.writer() if kubernetes else None,
        redis_writers={name: writer for name, (_, writer) in redis.items()},
    )


async def _kubernetes(settings: Settings, stack: AsyncExitStack) -> KubernetesConnection | None:
    if not settings.kubernetes.enabled:
        return None
    connection = await connect_kubernetes(settings.kubernetes.kubeconfig, settings.kubernetes.kube_context)
    stack.push_async_callback(connection.close)
    return connection


async def _databases(settings: Settings, stack: AsyncExitStack) -> dict[str, SqlTarget]:
    return {
        name: await stack.enter_async_context(connect_sql_target(name, dsn.get_secret_value()))
        for name, dsn in settings.databases.items()
    }


def _prometheus(name: str, server: PrometheusServer, http: HttpClient) -> Prometheus:
    return Prometheus(name, server.url, http, server.token.get_secret_value() if server.token else "")


def _mailer(smtp: Smtp | None) -> Mailer | None:
    if smtp is None:
        return None
    password = smtp.password.get_secret_value() if smtp.password else None
    return Mailer(smtp.host, smtp.port, smtp.sender, smtp.user, password, smtp.start_tls)


def _secrets(settings: Settings) -> dict[str, str]:
    return {name: secret.get_secret_value() for name, secret in settings.secrets.items()}
