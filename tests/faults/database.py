"""PostgreSQL for the fault runs: a database a seed, and the ways in which a database goes away."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from remediator.store.connecting import LIMITS
from remediator.store.embedded import EmbeddedPostgres
from remediator.store.migrate import migrate
from tests.fakes.folders import open_to_all
from tests.fakes.postgres import database_dsn

_TEMPLATE = "faults_template"
# Only processes are killed, never the machine: what was handed to the kernel is safe without fsync.
_SETTINGS = ("max_connections = 400", "fsync = off", "full_page_writes = off", "shared_buffers = '64MB'")


# Half a minute between two polls is less than half a second here, and so with the lease of one.
_POLLS_ARE_SOON = """
CREATE FUNCTION polls_are_soon() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.due_at := LEAST(NEW.due_at, now() + interval '0.4 seconds');
    IF NEW.lease_until IS NOT NULL THEN
        NEW.lease_until := LEAST(NEW.lease_until, now() + interval '3 seconds');
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER polls_are_soon BEFORE INSERT OR UPDATE ON source_polls
FOR EACH ROW EXECUTE FUNCTION polls_are_soon();
"""


class Server:
    def __init__(self, embedded: EmbeddedPostgres) -> None:
        self.dsn = embedded.dsn
        self._embedded = embedded

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path) -> AsyncIterator["Server"]:
        folder.parent.mkdir(parents=True, exist_ok=True)
        open_to_all(folder.parent)
        embedded = await EmbeddedPostgres.start(folder)
        server = cls(embedded)
        try:
            for setting in _SETTINGS:
                await server.execute(f"ALTER SYSTEM SET {setting}")
            await server.restart("fast")
            await server.execute(f"CREATE DATABASE {_TEMPLATE}")
            await migrate(template := database_dsn(server.dsn, _TEMPLATE))
            await server.execute(_POLLS_ARE_SOON, dsn=template)
            yield server
        finally:
            await embedded.stop()

    async def create(self, name: str) -> str:
        await self.execute(f"CREATE DATABASE {name} TEMPLATE {_TEMPLATE}")
        return database_dsn(self.dsn, name)

    async def drop(self, name: str) -> None:
        await self.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    async def restart(self, mode: str = "immediate") -> None:
        """`immediate` leaves what a crash leaves: the next start recovers from the log."""
        folder, programs = self._embedded.folder, self._embedded.programs
        arguments = ("-w", "-D", folder, "-m", mode, "-l", folder / "log", "restart")
        ended = await asyncio.to_thread(programs.run, "pg_ctl", *arguments)
        assert ended.is_well, ended.said

    async def crash(self) -> None:
        """kill -9 of one backend: PostgreSQL ends all others and recovers."""
        connection = await asyncpg.connect(self.dsn)
        os.kill(connection.get_server_pid(), signal.SIGKILL)
        connection.terminate()

    async def drop_connections(self, name: str, *, share: float = 1) -> None:
        """The daemons': those by which they watch it, and so many of the others. Whoever looks from outside goes on."""
        await self.execute(
            f"""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = '{name}' AND application_name LIKE '{LIMITS["application_name"]}%'
                  AND (application_name LIKE '%(watch)' OR random() < {share})"""  # noqa: S608  # our own words
        )

    async def let_in(self, name: str, *, is_open: bool) -> None:
        """Whether new sessions are; those that there are go on."""
        await self.execute(f"ALTER DATABASE {name} WITH ALLOW_CONNECTIONS {is_open}")

    async def execute(self, sql: str, *, dsn: str = "") -> None:
        connection = await asyncpg.connect(dsn or self.dsn)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()
