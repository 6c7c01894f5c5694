"""The folder of the embedded PostgreSQL: whether it can be used, whose turn it is to change it, and what servers and
daemons that were killed have left in it."""

import fcntl
import json
import os
import shutil
import signal
import socket
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from remediator.domain.errors import BadDocument, Temporary
from remediator.store.embedded_programs import Programs

log = structlog.get_logger()

SOCKET = ".s.PGSQL.5432"
LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
"""Bytes of its path; the kernel's."""
NOTE = "postmaster.pid"
HANDLES = ".handle_pids.json"
"""Who uses the server; the wheel's name for it, so that earlier releases are counted too."""
STALE_SECONDS = 2.0
"""A server writes its note in one go. One that cannot be read, and has not changed for so long, is nobody's work."""
TURN_SECONDS = 30.0
_UNFINISHED = ".unfinished-"
_MISREAD = frozenset(',"$`\\')
"""By the shell that starts the server, or where a socket's folder is one of a list."""


def demand_fit(folder: Path, programs: Programs) -> None:
    """Raises `BadDocument` where no server can or may run there."""
    length, longest = len(os.fsencode(folder.parent)), LONGEST_SOCKET - len(f"/{folder.name}/{SOCKET}")
    if length > longest:
        raise BadDocument(
            f"data_dir {folder.parent} is {length} bytes long, and the path of a socket in it has room for {longest}: "
            "set a shorter one"
        )
    if _MISREAD & set(str(folder)) or not str(folder).isprintable():
        raise BadDocument(
            f"data_dir {str(folder)!r} has a control character or one of {' '.join(sorted(_MISREAD))} in it, which "
            "programs of PostgreSQL take for something else: set another"
        )
    programs.demand_a_way_to(folder)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise BadDocument(f"{folder} is no folder: move it away, or set another data_dir")
    if not any(folder.iterdir()):
        return
    version = _version(folder)
    state = folder.stat()
    if state.st_uid != programs.owner:
        raise BadDocument(
            f"{folder} belongs to user number {state.st_uid}, and the server would run as {programs.owner}: start "
            "Remediator as who started it before, or set another data_dir"
        )
    if state.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadDocument(
            f"{folder} is open to others ({stat.filemode(state.st_mode)}), who could become superuser by the socket in "
            f"it: chmod 700 {folder}"
        )
    if version != str(programs.version):
        raise BadDocument(
            f"{folder} holds a database of PostgreSQL {version or '(PG_VERSION is empty)'}, and the embedded one is "
            f"{programs.version}: go back to the release that made it, or dump it there (pg_dump) and restore it here"
        )


def _version(folder: Path) -> str:
    note = folder / "PG_VERSION"
    if not note.exists():
        raise BadDocument(
            f"{folder} is not empty, and holds no database that could be used: move it away, and the next start makes "
            "one (a first start that was killed left such a folder in releases before this one)"
        )
    return note.read_text(errors="replace").strip()


@contextmanager
def turn(folder: Path) -> Iterator[None]:
    """To make, start or stop its server. The kernel takes it back from a process that is killed."""
    ends = time.monotonic() + TURN_SECONDS
    number = os.open(folder.parent / f".{folder.name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        while True:
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > ends:
                    raise Temporary(
                        f"another process makes, starts or stops the one in {folder}, for {TURN_SECONDS:g} s by now",
                        system="database",
                        operation="embedded PostgreSQL",
                    ) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(number)


def make_cluster(folder: Path, programs: Programs) -> None:
    """Beside it, and under its name only when it is whole: whoever is killed before leaves nothing that looks like one.
    What is left beside it never had a server, and holds nothing."""
    for number in processes(folder):  # somebody deleted the folder under it; when it sees that, it deletes our socket
        log.warning("a PostgreSQL whose folder was deleted is ended", pid=number)
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    for left in folder.parent.glob(f"{folder.name}{_UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f"{folder.name}{_UNFINISHED}", dir=folder.parent))
    try:
        if programs.user:
            os.chown(made, programs.user.pw_uid, programs.user.pw_gid)
        how = ("--auth=trust", "--encoding=utf8", "-U", "postgres", "-D", made)  # who comes to the socket is us
        ended = programs.run("initdb", *how)
        if not ended.is_well:
            raise not_made(folder, ended.said)
        made.rename(folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
    _keep_names(folder.parent)


def not_made(folder: Path, said: str) -> BadDocument | Temporary:
    return _failure(f"cannot be made in {folder}", said.splitlines()[-4:], "put that right, or set another data_dir")


def not_started(folder: Path, said: list[str]) -> BadDocument | Temporary:
    return _failure(
        f"in {folder} does not start", said, f"put that right ({folder / 'log'} has more), or set another data_dir"
    )


_PASSING = (
    "No space left on device",
    "Cannot allocate memory",
    "Resource temporarily unavailable",
    "Too many open files",
    "is still in use",
)


def _failure(what: str, said: list[str], to_do: str) -> BadDocument | Temporary:
    told = "".join(f"\n  {line}" for line in said)
    if any(phrase in told for phrase in _PASSING):
        return Temporary(what + told, system="database", operation="embedded PostgreSQL")
    return BadDocument(f"the embedded PostgreSQL {what}: {to_do}{told}")


def _keep_names(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@dataclass(frozen=True, slots=True)
class Note:
    """What a running server writes down about itself."""

    pid: int
    port: str
    sockets: str
    is_ready: bool


def read_note(folder: Path) -> Note | None:
    """None where there is none, or it cannot be read: it is being written, or was cut off."""
    try:
        lines = (folder / NOTE).read_text(errors="replace").splitlines()
        pid, _, _, port, sockets, _, _, *status = map(str.strip, lines)
        return Note(int(pid), port, sockets, is_ready=status == ["ready"]) if sockets else None
    except (FileNotFoundError, ValueError):
        return None


def runs(folder: Path) -> bool:
    """Whether there is a server that takes connections, or soon will."""
    note = read_note(folder)
    return note is not None and (note.pid in processes(folder) or _is_listened_to(note))


def forget_if_dead(folder: Path) -> None:
    """A server that was killed leaves its note behind, and its number may be another process's by now: PostgreSQL takes
    that one for the server, and never starts. One that a power cut left empty or cut off it never starts on either.

    Dead is what is no process in the folder and listens nowhere: two servers on one folder would destroy it."""
    path = folder / NOTE
    while path.exists() and not processes(folder):
        note = read_note(folder)
        if note is not None and _is_listened_to(note):  # by a server of another container, on the same folder
            return
        with suppress(FileNotFoundError):
            unchanged = time.time() - path.stat().st_mtime
            if note is not None or not 0 <= unchanged < STALE_SECONDS:
                log.warning("what a dead PostgreSQL left is removed", file=str(path))
                (folder / f"{SOCKET}.lock").unlink(missing_ok=True)  # has the same number in it
                path.unlink()
                return
        time.sleep(0.1)


def is_alive(pid: int) -> bool:
    """As the server that it was."""
    import psutil  # the wheel is made with it

    try:
        process = psutil.Process(pid)
        return bool(process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _is_listened_to(note: Note) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(f"{note.sockets}/.s.PGSQL.{note.port}")
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError as error:  # too many wait there for it, say: it is alive
            return "too long" not in str(error)
    return True


def processes(folder: Path) -> set[int]:
    """Of its server, also those that outlive their first one: they still write."""
    import psutil

    found = set()
    for process in psutil.process_iter(("name", "status")):
        if process.info["name"] == "postgres" and process.info["status"] != psutil.STATUS_ZOMBIE:
            try:
                is_there = Path(process.cwd()) == folder
            except psutil.NoSuchProcess:
                is_there = False
            except psutil.AccessDenied:  # another user's, so that of another folder: this one is ours alone
                is_there = False
            if is_there:
                found.add(process.pid)
    return found


def begin_to_use(folder: Path) -> None:
    _write_users(folder, {*_users(folder), os.getpid()})


def end_to_use(folder: Path) -> bool:
    """Whether nobody else uses it."""
    others = _users(folder) - {os.getpid()}
    _write_users(folder, others)
    return not others


def _users(folder: Path) -> set[int]:
    """Those that live. Who was killed could not take itself off the list."""
    import psutil

    try:
        written: Any = json.loads((folder / HANDLES).read_bytes())
    except (FileNotFoundError, ValueError):  # a power cut may have left half of it
        return set()
    found = set()
    for number in written if isinstance(written, list) else ():
        with suppress(psutil.NoSuchProcess, TypeError, ValueError):
            if psutil.Process(number).status() != psutil.STATUS_ZOMBIE:
                found.add(number)
    return found


def _write_users(folder: Path, users: set[int]) -> None:
    """A full disk keeps nobody from starting or stopping: whose server another stops starts it again."""
    new = folder / f"{HANDLES}.new"
    try:
        new.unlink(missing_ok=True)
        with new.open("x") as file:  # follows no link, which the server's user could have put there
            json.dump(sorted(users), file)
        new.replace(folder / HANDLES)
    except OSError as error:
        log.warning("who uses the embedded PostgreSQL cannot be noted", error=str(error))
