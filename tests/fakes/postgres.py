"""A real PostgreSQL from the wheel: one server a session, one fresh and migrated database a test."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from remediator.store.database import Database
from remediator.store.embedded import EmbeddedPostgres
from remediator.store.migrate import migrate
from tests.fakes.folders import open_to_all

_TEMPLATE = "remediator_template"


@pytest.fixture(scope="session")
def postgres_dsn() -> Iterator[str]:
    """The server, with a migrated template database beside it.

    In a folder of its own: pytest closes its temporary folders to other users whenever another run of it begins, and
    as root the server is another user.
    """
    folder = open_to_all(tempfile.mkdtemp(prefix="remediator-postgres-"))

    async def prepared() -> EmbeddedPostgres:
        server = await EmbeddedPostgres.start(folder / "data")
        await _execute(server.dsn, f"CREATE DATABASE {_TEMPLATE}")
        await migrate(database_dsn(server.dsn, _TEMPLATE))
        return server

    server = asyncio.run(prepared())
    yield server.dsn
    asyncio.run(server.stop())
    shutil.rmtree(folder)


@pytest.fixture
async def database_address(postgres_dsn: str) -> AsyncIterator[str]:
    """A fresh, migrated database."""
    name = f"test_{uuid4().hex}"
    await _execute(postgres_dsn, f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
    yield database_dsn(postgres_dsn, name)
    await _execute(postgres_dsn, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def empty_database_address(postgres_dsn: str) -> AsyncIterator[str]:
    """Nothing in it yet, not even our tables."""
    name = f"empty_{uuid4().hex}"
    await _execute(postgres_dsn, f"CREATE DATABASE {name}")
    yield database_dsn(postgres_dsn, name)
    await _execute(postgres_dsn, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(database_address: str) -> AsyncIterator[Database]:
    async with Database.open(database_address, pool=8) as opened:
        yield opened


def database_dsn(dsn: str, name: str) -> str:
    parts = urlsplit(dsn)
    return urlunsplit((parts.scheme, parts.netloc, f"/{name}", urlencode(parse_qsl(parts.query)), ""))


async def _execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
