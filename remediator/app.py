"""The composition root: builds the daemon from its settings, starts it in order, stops it in reverse."""

import asyncio
import os
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import structlog
from aiohttp import web
from pydantic import SecretStr

from remediator.clients.http import HttpClient, open_http
from remediator.clients.kubernetes import KubernetesConnection, connect_kubernetes
from remediator.clients.prometheus import Prometheus
from remediator.clients.redis_target import RedisReader, RedisWriter, connect_redis
from remediator.clients.smtp import Mailer
from remediator.clients.sql_target import connect_sql_target
from remediator.domain.errors import BadDocument
from remediator.domain.incident import Incident
from remediator.domain.ledger import Ledger, Proposal
from remediator.domain.mode import Mode, lower
from remediator.engine.bell import Bell
from remediator.engine.clock import DatabaseClock
from remediator.engine.courier import Courier
from remediator.engine.desk import Desk
from remediator.engine.escalate import Escalator
from remediator.engine.intake import Intake
from remediator.engine.links import Links
from remediator.engine.pages import PageWriter
from remediator.engine.respond import Responder
from remediator.engine.rules_in_force import RulesInForce, remember
from remediator.engine.worker import Pace, Worker
from remediator.guards import Guard
from remediator.metrics import Metrics
from remediator.settings import Settings
from remediator.store import intents, ledger
from remediator.store.database import Database
from remediator.store.embedded import EmbeddedPostgres
from remediator.store.migrate import migrate
from remediator.toolbox import Messengers, Toolbox, WriteToolbox

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running Remediator."""

    url: str
    rules: RulesInForce
    database: Database
    api_token_file: Path | None
