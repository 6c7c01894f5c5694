"""PostgreSQL from a wheel, for a laptop or a single replica: data in a folder, reached by a socket only we can open.

Of the wheel we use the programs alone. Its own way to run them opens every folder on the way to ours, and gives up
for good on a server that takes ten seconds to recover, or that was killed at the wrong moment."""

import asyncio
import atexit
import errno
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import asyncpg
import structlog

from remediator.domain.errors import BadDocument, Temporary
from remediator.store import embedded_folder as kept
from remediator.store.connecting import connect
from remediator.store.embedded_programs import Programs

log = structlog.get_logger()

LOOK_EVERY_SECONDS = 1.0
START_SECONDS = 10.0
"""For one try. A server that has much to recover goes on with it, and the next try finds it further on."""
STOP_SECONDS = 60.0
_OUT_OF = {errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN}


class EmbeddedPostgres:
    """What starts and stops the server blocks, so it runs in a thread, one at a time."""

    def __init__(self, folder: Path, programs: Programs) -> None:
        self.folder = folder
        self.programs = programs
        self.dsn = f"postgresql://postgres:@/postgres?host={quote(str(folder))}"
        self._pid = 0
        self._is_over = False
        self._changing = threading.Lock()

    @classmethod
    async def start(cls, folder: Path) -> "EmbeddedPostgres":
        """Raises `Temporary` where it may start later, `BadDocument` where somebody must do something first."""
        server = await asyncio.to_thread(cls._start, folder)
        await _demand_whole(server)
        return server

    @classmethod
    def _start(cls, folder: Path) -> "EmbeddedPostgres":
        programs = Programs.of_the_wheel()
        folder = folder.expanduser().resolve()
        server = cls(folder, programs)
        with _told(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            kept.demand_fit(folder, programs)
            with kept.turn(folder):
                if not (folder / "PG_VERSION").exists():
                    kept.make_cluster(folder, programs)
                server._run()
                kept.begin_to_use(folder)
        atexit.register(server._stop)  # whoever is cancelled while it starts has nobody else to stop it
        return server

    async def keep_running(self) -> None:
        """Until cancelled. Nobody else would start a server again that was killed."""
        while True:
            await asyncio.sleep(LOOK_EVERY_SECONDS)
            try:
                if not self._runs():
                    log.error("the embedded PostgreSQL is gone, starting it again", pid=self._pid)
                    await asyncio.to_thread(self._start_again)
            except Exception as error:  # whatever it is, the next look tries again
                log.error("the embedded PostgreSQL does not start", error=str(error))

    async def stop(self) -> None:
        await asyncio.to_thread(self._stop)

    def _runs(self) -> bool:
        """Where we are the first process of a container, a dead server stays our zombie until we ask for it."""
        with suppress(ChildProcessError):
            os.waitpid(self._pid, os.WNOHANG)
        return kept.is_alive(self._pid) or kept.runs(self.folder)

    def _start_again(self) -> None:
        with self._changing, _told(self.folder), kept.turn(self.folder):
            if not self._is_over:
                self._run()

    def _stop(self) -> None:
        """Whatever keeps us from it is told, and no end of whoever stops."""
        atexit.unregister(self._stop)
        try:
            with self._changing, kept.turn(self.folder):
                self._is_over = True
                self._stop_if_last()
        except FileNotFoundError:  # the folder is gone, and its server goes with it
            return
        except (OSError, Temporary) as error:
            log.warning("the embedded PostgreSQL is not stopped", error=str(error))

    def _stop_if_last(self) -> None:
        if not kept.end_to_use(self.folder) or not kept.runs(self.folder):
            return
        for mode, seconds in (("fast", STOP_SECONDS), ("immediate", START_SECONDS)):
            how = ("-w", "-t", f"{seconds:.0f}", "-m", mode)
            if self.programs.run("pg_ctl", "-D", self.folder, *how, "stop").is_well:
                return
            log.warning("the embedded PostgreSQL does not stop", mode=mode, seconds=seconds)

    def _run(self) -> None:
        """Until it takes connections."""
        ends = time.monotonic() + START_SECONDS
        logged = self._log_size()
        while True:
            kept.forget_if_dead(self.folder)
            note = kept.read_note(self.folder)
            if note is not None and note.is_ready and kept.runs(self.folder):
                self._pid = note.pid
                return
            if not (self.folder / kept.NOTE).exists():
                self._begin(logged)
            elif time.monotonic() > ends:
                raise Temporary(
                    f"the one in {self.folder} takes no connections after {START_SECONDS:g} s: after a crash it may "
                    f"have much to recover{_lines(self._logged(0)[-1:])}",
                    system="database",
                    operation="embedded PostgreSQL",
                )
            time.sleep(0.05)

    def _begin(self, logged: int) -> None:
        """The shell reads the options, and then the server its list of folders: quotes for each. The socket would be
        open to everybody who came to it."""
        sockets = f"""-h '' -p 5432 -k '"{_in_single_quotes(self.folder)}"'"""
        options = f"{sockets} -c unix_socket_permissions=0700 -c lc_messages=C"
        where = ("-D", self.folder, "-l", self.folder / "log")
        ended = self.programs.run("pg_ctl", *where, "-w", "-t", f"{START_SECONDS:.0f}", "-o", options, "start")
        if not ended.is_well and not (self.folder / kept.NOTE).exists():
            raise kept.not_started(self.folder, self._logged(logged)[-4:] or ended.said.splitlines()[-4:])

    def _log_size(self) -> int:
        with suppress(FileNotFoundError):
            return (self.folder / "log").stat().st_size
        return 0

    def _logged(self, since: int) -> list[str]:
        try:
            with (self.folder / "log").open("rb") as file:
                file.seek(max(since, self._log_size() - 4096))
                return file.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            return []


_NOT_THERE = (asyncpg.InvalidCatalogNameError, asyncpg.InvalidAuthorizationSpecificationError)


async def _demand_whole(server: EmbeddedPostgres) -> None:
    """Earlier releases made it in place: where a first start was killed, a server may run that has no database."""
    try:
        connection = await connect(server.dsn)
    except asyncpg.ClientCannotConnectError as error:
        if isinstance(error.__cause__, _NOT_THERE):
            await server.stop()
            raise BadDocument(
                f"{server.folder} is half made ({error.__cause__}): a first start was killed in it. Move it away, and "
                "the next start makes another"
            ) from error
    else:
        connection.terminate()


def _in_single_quotes(folder: Path) -> str:
    return str(folder).replace("'", "'\\''")


def _lines(said: list[str]) -> str:
    return "".join(f"\n  {line}" for line in said)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """What the system says about the folder, in words."""
    try:
        yield
    except OSError as error:
        why = f"{error.strerror or error} ({error.filename or folder})"
        if error.errno in _OUT_OF:
            raise Temporary(why, system="database", operation="embedded PostgreSQL") from error
        raise BadDocument(
            f"data_dir: the embedded PostgreSQL cannot use {folder}: {why}: set a data_dir that can be written to, or "
            "DATABASE_URL"
        ) from error
