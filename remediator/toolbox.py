"""What plug-ins may touch. Looking and writing are two types: in observe mode the second one is never built."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar

from remediator.clients.http import HttpClient
from remediator.clients.kubernetes import KubernetesReader, KubernetesWriter
from remediator.clients.prometheus import Prometheus
from remediator.clients.redis_target import RedisReader, RedisWriter
from remediator.clients.smtp import Mailer
from remediator.clients.sql_target import SqlTarget
from remediator.domain.errors import NotAllowed
from remediator.domain.plan import Fence

Clock = Callable[[], datetime]
"""Gives the aware present. Deadlines that must hold across replicas use the database's clock instead."""

T = TypeVar("T")


def system_clock() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Toolbox:
    """For looking: nothing in here can change anything."""

    http: HttpClient
    clock: Clock = system_clock
    kubernetes_reader: KubernetesReader | None = None
    databases: Mapping[str, SqlTarget] = field(default_factory=dict)
    redis_readers: Mapping[str, RedisReader] = field(default_factory=dict)
    prometheus_servers: Mapping[str, Prometheus] = field(default_factory=dict)

    @property
    def kubernetes(self) -> KubernetesReader:
        if self.kubernetes_reader is None:
            raise NotAllowed("no Kubernetes connection is configured: set REMEDIATOR_KUBERNETES__ENABLED")
        return self.kubernetes_reader

    def database(self, name: str) -> SqlTarget:
        return _named(self.databases, name, "database")

    def redis(self, name: str) -> RedisReader:
        return _named(self.redis_readers, name, "Redis")

    def prometheus(self, name: str) -> Prometheus:
        return _named(self.prometheus_servers, name, "Prometheus")


@dataclass(frozen=True, slots=True)
class WriteToolbox:
    """For acting. Built by `app` only where the mode ceiling is above observe."""

    look: Toolbox
    kubernetes_writer: KubernetesWriter | None = None
    redis_writers: Mapping[str, RedisWriter] = field(default_factory=dict)

    def fenced(self, fence: Fence) -> "WriteToolbox":
        """Every writer asks `fence` before each write."""
        kubernetes = self.kubernetes_writer and replace(self.kubernetes_writer, fence=fence)
        redis = {name: replace(writer, fence=fence) for name, writer in self.redis_writers.items()}
        return replace(self, kubernetes_writer=kubernetes, redis_writers=redis)

    @property
    def kubernetes(self) -> KubernetesWriter:
        if self.kubernetes_writer is None:
            raise NotAllowed("no Kubernetes connection is configured: set REMEDIATOR_KUBERNETES__ENABLED")
        return self.kubernetes_writer

    def redis(self, name: str) -> RedisWriter:
        return _named(self.redis_writers, name, "Redis")


@dataclass(frozen=True, slots=True)
class Messengers:
    """For reaching people."""

    http: HttpClient
    mailer: Mailer | None = None
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Name -> value, from settings and mounted files. Never logged."""
    clock: Clock = system_clock

    def secret(self, name: str) -> str:
        return _named(self.secrets, name, "secret")


def _named(things: Mapping[str, T], name: str, kind: str) -> T:
    if name not in things:
        known = ", ".join(sorted(things)) or "none"
        raise NotAllowed(f"no {kind} connection named {name!r} is configured; known: {known}")
    return things[name]
