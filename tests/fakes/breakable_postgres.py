"""A real PostgreSQL of one's own, and every way to lose it: each is a context manager, and leaving it repairs."""

import asyncio
import os
import pwd
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import asyncpg
import psutil

from remediator.store.embedded import EmbeddedPostgres
from tests.cluster.eventually import eventually
from tests.fakes.postgres import database_dsn

MOST_CONNECTIONS = 30
FULL_DISK = 48 << 20


@dataclass
class BreakablePostgres:
    folder: Path
    dsn: str
    binaries: Path
    listens: str
    """Where, as options of the server."""

    @classmethod
    async def start(cls, folder: Path) -> "BreakablePostgres":
        first = await EmbeddedPostgres.start(folder)
        [sockets] = parse_qs(urlsplit(first.dsn).query)["host"]
        made = cls(folder, first.dsn, first.programs.folder, f'-h "" -k {sockets}')
        await made.run(f"ALTER SYSTEM SET max_connections = {MOST_CONNECTIONS}")
        await made.start_again()
        return made

    async def stop(self) -> None:
        await self._control("stop", "-m", "immediate")

    async def database(self, tablespace: str = "") -> str:
        """The DSN of a fresh one."""
        name = f"lost_{uuid4().hex[:8]}"
        await self.run(f"CREATE DATABASE {name}" + (f" TABLESPACE {tablespace}" if tablespace else ""))
        return database_dsn(self.dsn, name)

    async def drop(self, dsn: str) -> None:
        await self.run(f"DROP DATABASE {_name(dsn)} WITH (FORCE)")

    async def limit(self, dsn: str, setting: str, value: str) -> None:
        """For every session there that does not say otherwise."""
        await self.run(f"ALTER DATABASE {_name(dsn)} SET {setting} = '{value}'")

    async def run(self, sql: str) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    async def number(self, sql: str) -> int:
        connection = await asyncpg.connect(self.dsn)
        try:
            found: int = await connection.fetchval(sql)
        finally:
            await connection.close()
        return found

    @property
    def processes(self) -> list[psutil.Process]:
        postmaster = psutil.Process(int((self.folder / "postmaster.pid").read_text().split()[0]))
        return [postmaster, *postmaster.children(recursive=True)]

    async def crash(self) -> None:
        await self._control("stop", "-m", "immediate")

    async def start_again(self) -> None:
        """Also where it runs: then it crashes first."""
        waits = ("-w", "-t", "60", "-l", str(self.folder / "log"))
        await self._control("restart", "-m", "immediate", "-o", self.listens, *waits)

    async def listen_at(self, port: int) -> None:
        """From now on, instead of at its socket."""
        self.dsn = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        self.listens = f'-h 127.0.0.1 -p {port} -k ""'
        await self.start_again()

    async def standby(self, folder: Path, port: int) -> "BreakablePostgres":
        """Another server that follows this one; what this one answers from now on, that one has too."""
        await self._run(
            "pg_basebackup", "-d", self.dsn, "-D", str(folder), "--write-recovery-conf", "--checkpoint=fast"
        )
        made = BreakablePostgres(folder, self.dsn, self.binaries, self.listens)
        await made.listen_at(port)
        await self.run("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await self.run("SELECT pg_reload_conf()")
        return made

    async def promote(self) -> None:
        await self._control("promote", "-w")

    async def cut_connections(self, dsn: str) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await _cut(connection, dsn)
        finally:
            await connection.close()

    @asynccontextmanager
    async def refusing(self, dsn: str) -> AsyncIterator[None]:
        """Every connection is reset, and none is let in."""
        await self.run(f"ALTER DATABASE {_name(dsn)} WITH ALLOW_CONNECTIONS false")
        await self.cut_connections(dsn)
        try:
            yield
        finally:
            await self.run(f"ALTER DATABASE {_name(dsn)} WITH ALLOW_CONNECTIONS true")

    @asynccontextmanager
    async def crashed(self, dsn: str) -> AsyncIterator[None]:
        await self.crash()
        try:
            yield
        finally:
            await self.start_again()

    @asynccontextmanager
    async def succeeded_by(self, standby: "BreakablePostgres") -> AsyncIterator[None]:
        """It crashes for good, and somebody promotes its standby."""
        await self.crash()
        yield
        await standby.promote()

    @asynccontextmanager
    async def frozen(self, dsn: str) -> AsyncIterator[None]:
        """It takes connections and answers nothing."""
        stopped = self.processes
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in stopped:
                process.send_signal(signal.SIGCONT)

    @asynccontextmanager
    async def read_only(self, dsn: str) -> AsyncIterator[None]:
        """What a primary becomes when another took its place."""
        await self._set_read_only("on")
        try:
            yield
        finally:
            await self._set_read_only("off")

    @asynccontextmanager
    async def without_standby(self) -> AsyncIterator[None]:
        """Its one synchronous standby is gone: every commit waits for it."""
        await self.run("ALTER SYSTEM SET synchronous_standby_names = 'gone'")
        await self.run("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            await self.run("ALTER SYSTEM RESET synchronous_standby_names")
            await self.run("SELECT pg_reload_conf()")

    @asynccontextmanager
    async def without_room(self, dsn: str) -> AsyncIterator[None]:
        """Too many clients: every connection is somebody else's."""
        taken = []
        try:
            while True:
                try:
                    taken.append(await asyncpg.connect(self.dsn))
                except asyncpg.TooManyConnectionsError:
                    if not await _cut(taken[0], dsn):
                        break
            yield
        finally:
            for connection in taken:
                connection.terminate()

    @asynccontextmanager
    async def full(self, disk: Path) -> AsyncIterator[None]:
        """For a database in the tablespace on `disk`. It stays full: what the server gives back meanwhile is taken."""
        filler = disk / "filler"
        filling = asyncio.create_task(_keep_full(filler))
        await asyncio.sleep(0)  # it is full after its first step
        try:
            yield
        finally:
            filling.cancel()
            filler.unlink()

    async def _set_read_only(self, state: str) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute("SET default_transaction_read_only = off")
            await connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {state}")
            await connection.execute("SELECT pg_reload_conf()")
        finally:
            await connection.close()
        await eventually(lambda: self._is_read_only(state))

    async def _is_read_only(self, state: str) -> bool:
        """As a new session sees it: by then the old ones have been told too."""
        connection = await asyncpg.connect(self.dsn)
        try:
            return bool(await connection.fetchval("SHOW default_transaction_read_only") == state)
        finally:
            await connection.close()

    async def _control(self, *arguments: str) -> None:
        await self._run("pg_ctl", "-D", str(self.folder), *arguments)

    async def _run(self, command: str, *arguments: str) -> None:
        user = {"user": "pgserver", "group": pwd.getpwnam("pgserver").pw_gid} if os.geteuid() == 0 else {}
        await asyncio.to_thread(
            subprocess.run,
            [self.binaries / command, *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            **user,
        )


def _name(dsn: str) -> str:
    return urlsplit(dsn).path.lstrip("/")


async def _cut(connection: "asyncpg.Connection[asyncpg.Record]", dsn: str) -> int:
    """How many connections to that database there were."""
    found = await connection.fetch(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", _name(dsn)
    )
    return len(found)


async def _keep_full(filler: Path) -> None:
    while True:
        with filler.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        await asyncio.sleep(0.02)  # what the server gives back, nothing announces


@asynccontextmanager
async def small_disk(folder: Path) -> AsyncIterator[Path]:
    """A file system of its own, of a few MiB. Needs root, as `mount` does."""
    folder.mkdir()
    await _run("mount", "-t", "tmpfs", "-o", f"size={FULL_DISK}", "tmpfs", str(folder))
    try:
        if os.geteuid() == 0:
            os.chown(folder, pwd.getpwnam("pgserver").pw_uid, -1)
        yield folder
    finally:
        await _run("umount", "-l", str(folder))


@dataclass
class SlowWire:
    """A socket in front of the server's; while `delay` is set, every packet takes that long."""

    delay: float = 0

    @asynccontextmanager
    async def before(self, dsn: str, folder: Path) -> AsyncIterator[str]:
        """The DSN to use."""
        parts = urlsplit(dsn)
        behind = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while packet := await reader.read(65_536):
                    await asyncio.sleep(self.delay)
                    writer.write(packet)
                    await writer.drain()
            except OSError:
                pass
            finally:
                writer.close()

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            server_reader, server_writer = await asyncio.open_unix_connection(behind)
            await asyncio.gather(carry(reader, server_writer), carry(server_reader, writer))

        server = await asyncio.start_unix_server(relay, folder / ".s.PGSQL.5432")
        try:
            yield parts._replace(query=f"host={folder}").geturl()
        finally:
            server.close()

    @asynccontextmanager
    async def slow(self, dsn: str) -> AsyncIterator[None]:
        self.delay = 3
        try:
            yield
        finally:
            self.delay = 0


async def _run(*command: str) -> None:
    await asyncio.to_thread(subprocess.run, command, check=True)
