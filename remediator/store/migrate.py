"""Migrations: plain SQL files, in order, each once, under one advisory lock for all replicas."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any

import asyncpg

from remediator.domain.errors import BadDocument
from remediator.store.connecting import LIMITS, connect
from remediator.store.database import Connection, translated

_LOCK = 0x52454D45
"""Any number that is ours: "REME"."""
_LIMITS = {**LIMITS, "application_name": "remediator (migrate)", "statement_timeout": "15min"}
_COMMAND_SECONDS = 16 * 60.0
"""A migration may have years of rows before it. It still does not wait long for a lock: others would queue behind."""


@dataclass(frozen=True, slots=True)
class Migration:
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


async def migrate(dsn: str) -> list[str]:
    """Names of what was applied. Raises `BadDocument` where an applied migration was edited since."""
    applied: list[str] = []
    with translated("migrate"):
        async with _connected(dsn) as connection:
            while (name := await _apply_next(connection)) is not None:
                applied.append(name)
    return applied


async def status(dsn: str) -> list[str]:
    """Names of what `migrate` would apply."""
    with translated("migrate"):
        async with _connected(dsn) as connection:
            exists = await connection.fetchval("SELECT to_regclass('migrations') IS NOT NULL")
            return [m.name for m in (await _pending(connection) if exists else shipped())]


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """Keeps no prepared statements, so that it works behind a pooler too."""
    connection = await connect(dsn, command_timeout=_COMMAND_SECONDS, limits=_LIMITS, statement_cache_size=0)
    try:
        yield connection
    finally:
        connection.terminate()


_TABLE = """CREATE TABLE IF NOT EXISTS migrations (
    name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"""


def shipped() -> list[Migration]:
    folder = resources.files("remediator.store") / "migrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [Migration(f.name, f.read_text()) for f in files]


async def _pending(connection: Connection) -> list[Migration]:
    applied = {r["name"]: r["checksum"] for r in await connection.fetch("SELECT name, checksum FROM migrations")}
    for migration in shipped():
        if applied.get(migration.name, migration.checksum) != migration.checksum:
            raise BadDocument(f"migration {migration.name} was changed after it was applied to this database")
    return [migration for migration in shipped() if migration.name not in applied]


async def _apply_next(connection: "asyncpg.Connection[Any]") -> str | None:
    """The lock ends with the transaction: a pooler may give the next one to another server connection."""
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        await connection.execute(_TABLE)
        missing = await _pending(connection)
        if not missing:
            return None
        migration = missing[0]
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO migrations (name, checksum) VALUES ($1, $2)", migration.name, migration.checksum
        )
    return migration.name
