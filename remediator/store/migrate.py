"""Migrations: plain SQL files, in order, each once, under one advisory lock for all replicas."""

import hashlib
from dataclasses import dataclass
from importlib import resources

import asyncpg

from remediator.domain.errors import BadDocument
from remediator.store.database import CONNECT_SECONDS, Connection, translated

_LOCK = 0x52454D45
"""Any number that is ours: "REME"."""


@dataclass(frozen=True, slots=True)
class Migration:
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


async def migrate(dsn: str) -> list[str]:
    """Names of what was applied. Raises `BadDocument` where an applied migration was edited since."""
    with translated("migrate"):
        connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
        try:
            await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
            await connection.execute(_TABLE)
            missing = await _pending(connection)
            for migration in missing:
                await _apply(connection, migration)
            return [migration.name for migration in missing]
        finally:
            await connection.close()


async def status(dsn: str) -> list[str]:
    """Names of what `migrate` would apply."""
    with translated("migrate"):
        connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
        try:
            exists = await connection.fetchval("SELECT to_regclass('migrations') IS NOT NULL")
            return [m.name for m in (await _pending(connection) if exists else shipped())]
        finally:
            await connection.close()


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


async def _apply(connection: "asyncpg.Connection[asyncpg.Record]", migration: Migration) -> None:
    async with connection.transaction():
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO migrations (name, checksum) VALUES ($1, $2)", migration.name, migration.checksum
        )
