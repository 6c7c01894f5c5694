"""A real PgBouncer, in transaction mode: each transaction may get another of its few server connections."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg

from tests.cluster.eventually import eventually
from tests.fakes.ports import free_port
from tests.fakes.programs import program

SERVER_CONNECTIONS = 5
"""Fewer than a daemon opens."""


@dataclass
class PgBouncer:
    dsn: str
    """Of the same database, through us."""
    _command: tuple[str, ...]
    _process: asyncio.subprocess.Process | None = None

    @classmethod
    @asynccontextmanager
    async def before(cls, dsn: str, folder: Path, *, ignoring: str = "") -> AsyncIterator["PgBouncer"]:
        """`ignoring`: the start-up parameters that it lets pass."""
        server, port = urlsplit(dsn), free_port()
        [sockets] = parse_qs(server.query)["host"]
        settings = folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n* = host={sockets} user=postgres\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
            f"pool_mode = transaction\ndefault_pool_size = {SERVER_CONNECTIONS}\n"
            f"ignore_startup_parameters = {ignoring}\n"
        )
        # It refuses to run as root, and only the server's own user may use the server's socket.
        user = ("-u", Path(sockets).owner()) if os.geteuid() == 0 else ()
        made = cls(
            f"postgresql://postgres@127.0.0.1:{port}{server.path}", (program("pgbouncer"), "-q", *user, str(settings))
        )
        await made._start()
        try:
            yield made
        finally:
            await made._stop()

    @asynccontextmanager
    async def gone(self) -> AsyncIterator[None]:
        """Killed with -9; leaving starts it afresh."""
        await self._stop()
        try:
            yield
        finally:
            await self._start()

    async def _start(self) -> None:
        quiet = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(*self._command, stdout=quiet, stderr=quiet)
        await eventually(self._answers, within=10)

    async def _answers(self) -> bool:
        try:
            await (await asyncpg.connect(self.dsn, statement_cache_size=0)).close()
        except OSError:
            return False
        return True

    async def _stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
