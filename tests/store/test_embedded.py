"""The PostgreSQL from the wheel comes back, whatever it left behind when it was killed, and says what keeps it back."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from remediator.domain.errors import BadDocument, Temporary
from remediator.store import embedded, embedded_programs
from remediator.store.connecting import connect
from remediator.store.embedded import EmbeddedPostgres
from remediator.store.embedded_programs import Programs
from tests.cluster.eventually import eventually
from tests.fakes.folders import open_to_all

AS_ROOT = os.geteuid() == 0
START_AND_STAY = """
import asyncio, pathlib, sys
from remediator.store import embedded_programs
from remediator.store.embedded import EmbeddedPostgres
async def stay():
    await EmbeddedPostgres.start(pathlib.Path(sys.argv[1]))
    print("started", flush=True)
    await asyncio.Event().wait()
asyncio.run(stay())
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    folder = open_to_all(tempfile.mkdtemp(prefix="remediator-postgres-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
async def server(data_dir: Path) -> AsyncIterator[EmbeddedPostgres]:
    started = await EmbeddedPostgres.start(data_dir / "data")
    yield started
    await started.stop()


async def answers(server: EmbeddedPostgres) -> bool:
    try:
        connection = await connect(server.dsn)
    except asyncpg.ClientCannotConnectError:
        return False
    connection.terminate()
    return True


async def is_gone(server: EmbeddedPostgres) -> bool:
    return not await answers(server)


def postmaster(server: EmbeddedPostgres) -> psutil.Process:
    return psutil.Process(int((server.folder / "postmaster.pid").read_text().split()[0]))


def has_ended(process: psutil.Process) -> bool:
    return not process.is_running() or bool(process.status() == psutil.STATUS_ZOMBIE)


def start_elsewhere(folder: Path) -> "subprocess.Popen[str]":
    """In a process, and a session, of its own."""
    command = [sys.executable, "-W", "ignore", "-c", START_AND_STAY, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def kill_all(process: "subprocess.Popen[str]") -> None:
    """And whatever it has started."""
    with process:
        for one in (*psutil.Process(process.pid).children(recursive=True), process):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()


async def the_one_that_recovers(folder: Path, beginning: "asyncio.Task[EmbeddedPostgres]") -> psutil.Process:
    """Held up; it is there for some milliseconds."""
    while True:
        for process in psutil.process_iter(("cmdline",)):
            if " ".join(process.info["cmdline"] or ()).startswith("postgres: startup"):
                with contextlib.suppress(psutil.Error):
                    if process.cwd() == str(folder):
                        process.suspend()
                        return process
        assert not beginning.done(), "it was over before it was seen"
        await asyncio.sleep(0)


async def test_a_killed_server_whose_number_is_somebody_elses_by_now_is_started_again(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut, or in a new container. PostgreSQL took that process for the server, for ever."""
    monkeypatch.setattr(embedded, "LOOK_EVERY_SECONDS", 0.1)
    note, lock = server.folder / "postmaster.pid", server.folder / ".s.PGSQL.5432.lock"
    number = note.read_text().split()[0]
    os.kill(int(number), signal.SIGKILL)
    await eventually(lambda: is_gone(server))
    with subprocess.Popen(["sleep", "600"]) as another:
        for file in (note, lock):
            file.write_text(file.read_text().replace(number, str(another.pid), 1))

        keeper = asyncio.create_task(server.keep_running())
        try:
            await eventually(lambda: answers(server), within=15)
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            another.kill()


async def test_a_server_whose_socket_somebody_cleared_away_is_not_taken_for_dead(server: EmbeddedPostgres) -> None:
    """It has the folder still: another one beside it would destroy what is in it."""
    note = server.folder / "postmaster.pid"
    before = note.read_text()
    port, sockets = before.splitlines()[3:5]
    Path(sockets.strip(), f".s.PGSQL.{port}").unlink()

    await EmbeddedPostgres.start(server.folder)

    assert note.read_text() == before, "the same process, since the same moment"


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["base", "global/pg_control", "PG_VERSION"])
async def test_a_first_start_that_is_killed_leaves_a_folder_that_the_next_one_makes_whole(
    data_dir: Path, moment: str
) -> None:
    folder = data_dir / "postgresql"

    async def is_at_it() -> bool:
        return any(data_dir.glob(f"postgresql*/{moment}"))

    killed = start_elsewhere(folder)
    await eventually(is_at_it, within=20)
    kill_all(killed)

    started = await EmbeddedPostgres.start(folder)

    assert await answers(started)
    assert [left.name for left in data_dir.iterdir() if "unfinished" in left.name] == []
    await started.stop()


async def test_a_folder_of_an_earlier_release_that_was_left_half_made_is_told_and_kept(data_dir: Path) -> None:
    folder = data_dir / "postgresql"
    programs = Programs.of_the_wheel()
    folder.mkdir(0o700)
    os.chown(folder, programs.owner, -1)
    for name in ("PG_VERSION", "postgresql.conf", "pg_hba.conf"):
        (folder / name).write_text(f"{programs.version}\n" if name == "PG_VERSION" else "")

    with pytest.raises(BadDocument, match=r"postgresql does not start: put that right(.*\n)*.*pg_control"):
        await EmbeddedPostgres.start(folder)

    assert (folder / "PG_VERSION").exists()


async def test_a_cluster_without_its_database_is_told_and_not_waited_for(server: EmbeddedPostgres) -> None:
    """What a first start of an earlier release leaves that is killed in the last of its steps."""
    connection = await asyncpg.connect(server.dsn.replace("/postgres?", "/template1?"))
    await connection.execute("DROP DATABASE postgres")
    await connection.close()

    with pytest.raises(BadDocument, match=r"half made .*does not exist"):
        await EmbeddedPostgres.start(server.folder)


@pytest.mark.parametrize(
    ("file", "left"),
    [
        pytest.param("postmaster.pid", "", id="nothing"),
        pytest.param("postmaster.pid", "1\n", id="cut off, and the number is somebody's"),
        pytest.param("postmaster.pid", "999999\n{folder}\n1796100932\n5432\n\n\n", id="dead before it listened"),
        pytest.param("postmaster.pid", "x\nx\n1\n5432\n{folder}\n\n1 2\nready\n", id="no number"),
        pytest.param(".handle_pids.json", "[123", id="half a list of users"),
        pytest.param(".handle_pids.json", '["x", -1]', id="no list of users"),
    ],
)
async def test_what_a_power_cut_left_half_written_keeps_no_start_back(
    server: EmbeddedPostgres, file: str, left: str
) -> None:
    await server.stop()
    (server.folder / file).write_text(left.format(folder=server.folder))

    await EmbeddedPostgres.start(server.folder)

    assert await answers(server)


async def test_the_note_of_a_living_server_is_left_though_it_cannot_be_read(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "START_SECONDS", 0.5)
    note = server.folder / "postmaster.pid"
    before = note.read_text()
    note.write_text("")
    os.utime(note, (0, 0))

    with pytest.raises(Temporary, match="takes no connections"):
        await EmbeddedPostgres.start(server.folder)

    assert note.exists()
    note.write_text(before)


async def test_who_was_killed_is_not_counted_among_its_users(server: EmbeddedPostgres) -> None:
    """Each later stop left it running."""
    with subprocess.Popen(["true"]) as dead:
        pass
    (server.folder / ".handle_pids.json").write_text(json.dumps([dead.pid, os.getpid()]))
    running = postmaster(server)

    await server.stop()

    assert has_ended(running)


async def test_it_is_stopped_though_nobody_can_note_who_uses_it(server: EmbeddedPostgres) -> None:
    """On a full disk, say."""
    (server.folder / ".handle_pids.json.new").mkdir()
    running = postmaster(server)

    await server.stop()

    assert has_ended(running)


async def test_it_runs_on_while_another_process_uses_it(server: EmbeddedPostgres) -> None:
    other = start_elsewhere(server.folder)
    assert other.stdout is not None
    assert await asyncio.to_thread(other.stdout.readline) == "started\n"

    await server.stop()

    assert await answers(server)
    kill_all(other)


@pytest.mark.slow
async def test_a_recovery_that_takes_long_goes_on_and_the_next_try_finds_it_further_on(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "START_SECONDS", 1.0)
    for process in (running := postmaster(server), *running.children()):
        process.kill()
    await eventually(lambda: is_gone(server))
    beginning = asyncio.create_task(EmbeddedPostgres.start(server.folder))
    recovery = await the_one_that_recovers(server.folder, beginning)
    with pytest.raises(Temporary, match="may have much to recover"):
        await beginning
    recovery.resume()

    await EmbeddedPostgres.start(server.folder)

    assert await answers(server)


async def test_a_server_whose_folder_was_deleted_does_not_take_the_next_ones_socket(server: EmbeddedPostgres) -> None:
    before = postmaster(server)
    shutil.rmtree(server.folder, ignore_errors=True)

    await EmbeddedPostgres.start(server.folder)

    assert has_ended(before)
    assert await answers(server)


@pytest.mark.parametrize("name", ["with a space", "it's; #1", "ünïcode %41 &@?"])
async def test_a_data_dir_may_have_a_name_that_is_not_plain(data_dir: Path, name: str) -> None:
    started = await EmbeddedPostgres.start(data_dir / name / "postgresql")

    assert await answers(started)
    await started.stop()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        pytest.param("d" * 100, r"bytes long, and the path of a socket in it has room for \d+", id="too long"),
        pytest.param("a,b", "has a control character or one of", id="a list of two"),
        pytest.param("$(id)", "has a control character or one of", id="a command"),
        pytest.param("file/below", "cannot use .*(Not a directory|File exists)", id="below a file"),
        pytest.param("file", "cannot use .*(Not a directory|File exists)", id="a file"),
    ],
)
async def test_a_data_dir_that_cannot_be_used_is_told(data_dir: Path, name: str, told: str) -> None:
    (data_dir / "file").touch()

    with pytest.raises(BadDocument, match=told):
        await EmbeddedPostgres.start(data_dir / name / "postgresql")


async def test_a_database_of_another_release_of_postgresql_is_told(server: EmbeddedPostgres) -> None:
    await server.stop()
    version = server.folder / "PG_VERSION"
    before = version.read_text()
    version.write_text("17\n")

    with pytest.raises(BadDocument, match="holds a database of PostgreSQL 17, and the embedded one is"):
        await EmbeddedPostgres.start(server.folder)

    version.write_text(before)


async def test_what_the_server_says_is_told_where_it_does_not_start(server: EmbeddedPostgres) -> None:
    await server.stop()
    with (server.folder / "postgresql.auto.conf").open("a") as settings:
        settings.write("shared_buffers = 'nonsense'\n")

    with pytest.raises(BadDocument, match=r'does not start: put that right.*\n.*"shared_buffers": "nonsense"'):
        await EmbeddedPostgres.start(server.folder)


async def test_nobody_else_comes_to_the_socket(server: EmbeddedPostgres) -> None:
    """Whoever does is superuser."""
    assert stat.S_IMODE((server.folder / ".s.PGSQL.5432").stat().st_mode) == 0o700
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700


async def test_a_folder_that_others_come_into_is_refused(server: EmbeddedPostgres) -> None:
    await server.stop()
    server.folder.chmod(0o750)

    with pytest.raises(BadDocument, match=r"open to others .*chmod 700"):
        await EmbeddedPostgres.start(server.folder)


@pytest.mark.skipif(not AS_ROOT, reason="only root runs it as another user")
class TestAsRoot:
    async def test_no_folder_on_the_way_is_opened(self, data_dir: Path) -> None:
        private = data_dir / "private"
        private.mkdir(0o700)

        with pytest.raises(BadDocument, match=f"is not let through {private}"):
            await EmbeddedPostgres.start(private / "data" / "postgresql")

        assert stat.S_IMODE(private.stat().st_mode) == 0o700

    async def test_the_server_has_nothing_of_root(self, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("REMEDIATOR_LINK_SECRET", "hush")
        started = await EmbeddedPostgres.start(data_dir / "postgresql")

        process = postmaster(started)

        assert 0 not in (*process.uids(), *process.gids())
        groups = Path(f"/proc/{process.pid}/status").read_text().split("Groups:")[1].split("\n")[0].split()
        assert "0" not in groups
        assert "REMEDIATOR_LINK_SECRET" not in process.environ()
        await started.stop()

    async def test_a_folder_of_another_user_is_told(self, server: EmbeddedPostgres) -> None:
        await server.stop()
        os.chown(server.folder, 12345, -1)

        with pytest.raises(BadDocument, match="belongs to user number 12345"):
            await EmbeddedPostgres.start(server.folder)

        os.chown(server.folder, server.programs.owner, -1)


def test_programs_in_a_closed_folder_are_copied_once_to_where_everybody_can_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of an installation in root's own home."""
    installed = tmp_path / "home" / "pgserver" / "pginstall" / "bin"
    libraries = tmp_path / "home" / "pgserver.libs"
    for folder, file in ((installed, "initdb"), (libraries, "libpq.so")):
        folder.mkdir(parents=True)
        (folder / file).write_text(file)
    monkeypatch.setattr(embedded_programs, "CACHE", tmp_path / "cache")

    first, second = embedded_programs.reachable(installed), embedded_programs.reachable(installed)

    assert first == second
    assert (first / "initdb").read_text() == "initdb"
    assert (first.parents[2] / "pgserver.libs" / "libpq.so").exists(), "beside, where the programs look for it"
    assert first.parents[2].stat().st_mode & 0o777 == 0o755
    assert list((tmp_path / "cache").iterdir()) == [first.parents[2]]
