"""Migrations: plain SQL files, in order, each once, by one replica at a time, beside replicas that are at work.

A file is one transaction, unless its first line is `-- no transaction`. Then each `-- step:` in it is sent by itself: a
step of several statements is one transaction, one of a single statement may be `CREATE INDEX CONCURRENTLY`. The last
step and the note that the file is done are one transaction; the steps before it must bear being repeated.

Nobody waits behind us for long: a lock that is not free at once is asked for again later. A release starts on a
database that a later release has migrated, unless a migration says `-- needs: 0007_name.sql`: a contract, after which
only code that ships that file can run.

A step may take hours, and is watched meanwhile. Whatever else is asked of the server is answered in seconds, or the
server is not well.
"""

import asyncio
import hashlib
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib import resources

import asyncpg
import structlog

from remediator.domain.errors import BadDocument, RemediatorError, Temporary
from remediator.store.connecting import COMMAND_SECONDS, LIMITS, connect, in_words
from remediator.store.database import Connection, translated
from remediator.store.half_way import LEFT_BEHIND, left_behind, statements
from remediator.store.lost_steps import GOODBYE_SECONDS, Lookout

log = structlog.get_logger()

_LOCK = 0x52454D45
"""Any number that is ours: "REME"."""
LOCK_TIMEOUT = "500ms"
"""Writers queue behind a lock that is waited for: this is how long they may."""
TRIES = 120
PAUSE = timedelta(seconds=1)

_NO_TRANSACTION = "-- no transaction\n"
_STEP = re.compile(r"^-- step:.*$", re.MULTILINE)
_NEEDS = re.compile(r"^-- needs: (\S+)$", re.MULTILINE)
_WAITS_ALONE = re.compile(r"\bCONCURRENTLY\b|\bVALIDATE CONSTRAINT\b")
"""Statements whose lock nobody who reads or writes rows can queue behind."""


TAKE_BACK_SECONDS = 20.0
"""Less than a container has to stop in."""


@dataclass(frozen=True, slots=True)
class Migration:
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()

    @property
    def steps(self) -> list[str]:
        if not self.sql.startswith(_NO_TRANSACTION):
            return [self.sql]
        return _STEP.split(self.sql)[1:]

    @property
    def needs(self) -> str:
        """The migration a release must ship to run after this one; empty: every release can."""
        found = _NEEDS.search(self.sql)
        return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class Patience:
    tries: int = TRIES
    pause: timedelta = PAUSE
    answer: timedelta = timedelta(seconds=COMMAND_SECONDS)
    """For all that is no step of a migration."""
    look_every: timedelta = timedelta(seconds=15)
    """At whether a step that was sent is still worked on."""
    unanswered_looks: int = 20
    """A network heals, and a server may take no more connections for a while."""

    async def rest(self) -> None:
        await asyncio.sleep(self.pause.total_seconds() * random.uniform(0.5, 1.5))  # noqa: S311  # guards nothing


async def migrate(dsn: str, *, patience: Patience | None = None) -> list[str]:
    """Names of what was applied. Raises `BadDocument` where an applied migration was edited since, or where the
    database has been contracted beyond this release; `Temporary` where a lock could not be had for minutes, or the
    server does not answer. Whoever gives up half-way, or is cancelled, leaves nothing that refuses rows later."""
    patience = patience or Patience()
    begun: list[Migration] = []
    try:
        async with _connected(dsn, patience) as connection:
            if await _is_current(connection):
                return []
            await _take_turn(connection, patience)
            await _keep_book(connection)
            missing = await _pending(connection)
            lookout = Lookout(dsn, patience.look_every, patience.unanswered_looks)
            for migration in missing:
                begun.append(migration)
                await _apply(connection, migration, lookout=lookout, patience=patience)
            await connection.execute(_AS_IT_WAS)
            return [migration.name for migration in missing]
    except BaseException:
        if begun and begun[-1].name in LEFT_BEHIND:
            await _take_back(dsn, begun[-1], patience)
        raise


async def status(dsn: str) -> list[str]:
    """Names of what `migrate` would apply."""
    async with _connected(dsn, Patience()) as connection:
        exists = await connection.fetchval("SELECT to_regclass('migrations') IS NOT NULL")
        return [m.name for m in (await _pending(connection) if exists else shipped())]


def shipped() -> list[Migration]:
    folder = resources.files("remediator.store") / "migrations"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return [Migration(f.name, f.read_text()) for f in files]


_LIMITS = {
    **LIMITS,
    "application_name": "remediator migrate",
    "statement_timeout": "0",
    "lock_timeout": LOCK_TIMEOUT,
}
"""There may be years of rows before it. It still does not wait long for a lock, nor keep one when it is cut off from
the server within a transaction: others would queue behind."""


@asynccontextmanager
async def _connected(dsn: str, patience: Patience) -> AsyncIterator[Connection]:
    """Keeps no prepared statements, so that it works behind a pooler too."""
    seconds = patience.answer.total_seconds()
    with translated("migrate"):
        connection = await connect(dsn, command_timeout=seconds, limits=_LIMITS, statement_cache_size=0)
        try:
            yield connection
        except TimeoutError as error:
            raise Temporary(
                f"connected, and then no answer within {seconds:g} s: is the server frozen or overloaded (its log and "
                "pg_stat_activity tell), or does a pooler have no connection for us?",
                system="database",
                operation="migrate",
            ) from error
        finally:
            with suppress(TimeoutError):  # who does not answer says no goodbye either; it is cut off then
                async with asyncio.timeout(GOODBYE_SECONDS):
                    await connection.close()


_AS_IT_WAS = "SELECT pg_advisory_unlock_all(); RESET lock_timeout"
"""Behind a pooler the session goes on, and is somebody else's."""


async def _is_current(connection: Connection) -> bool:
    """Most starts find nothing to do, and then take no lock: behind a pooler a session's lock outlives the session."""
    exists = await connection.fetchval("SELECT to_regclass('migrations') IS NOT NULL")
    return bool(exists) and not await _pending(connection)


async def _take_turn(connection: Connection, patience: Patience) -> None:
    """Asks again and again: a session that *waits* for our lock holds a snapshot, and an index that is built
    concurrently would wait for that snapshot - for ever. Whoever has it is waited for as long as it works."""
    idle = 0
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
        holder = await connection.fetchrow(_HOLDER, _LOCK)
        idle = 0 if holder is not None and holder["is_at_work"] else idle + 1
        if idle > patience.tries:
            raise Temporary(_idle_holder(holder), system="database", operation="migrate")
        await patience.rest()


# What another role does is not shown to everybody: then it is taken to be at work.
_HOLDER = """
SELECT l.pid, a.application_name AS name, COALESCE(a.state = 'active', true) AS is_at_work
FROM pg_locks l LEFT JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 0 AND l.objid = $1 AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def _idle_holder(holder: asyncpg.Record | None) -> str:
    if holder is None:
        return "other replicas take the turn to migrate again and again: start one alone"
    return (
        f"process {holder['pid']} ({holder['name']}) has the turn to migrate, and does nothing: its owner froze, or "
        f"a pooler keeps its session; if no replica is at it, end it: SELECT pg_terminate_backend({holder['pid']})"
    )


_BOOK = """CREATE TABLE IF NOT EXISTS migrations (
    name text COLLATE "C" PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(),
    needs text NOT NULL DEFAULT '')"""


async def _keep_book(connection: Connection) -> None:
    try:
        await connection.execute(_BOOK)
    except asyncpg.InvalidSchemaNameError as error:
        raise BadDocument(
            f"the search_path of this role names no schema that is there ({in_words(error)}): make the schema, or "
            "change the search_path (ALTER ROLE ... SET search_path)"
        ) from error
    if not await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'migrations'::regclass AND attname = 'needs')"
    ):
        await connection.execute("ALTER TABLE migrations ADD COLUMN needs text NOT NULL DEFAULT ''")


_APPLIED = "SELECT name, checksum, COALESCE(to_jsonb(m) ->> 'needs', '') AS needs FROM migrations m ORDER BY name"
_SOMEBODY_ELSES = "another application uses this database: give Remediator one of its own, or a schema (search_path)"


async def _pending(connection: Connection) -> list[Migration]:
    """What a later release has applied is not ours to judge, as long as it does not say that we cannot run on it."""
    known = {migration.name: migration for migration in shipped()}
    try:
        applied = await connection.fetch(_APPLIED)
    except asyncpg.UndefinedColumnError as error:
        raise BadDocument(f"{_SOMEBODY_ELSES}: the table `migrations` is not ours ({in_words(error)})") from error
    for row in applied:
        if row["needs"] and row["needs"] not in known:
            raise BadDocument(
                f"a later release has changed this database ({row['name']}) so that only a release that ships "
                f"{row['needs']} can run on it: upgrade this replica"
            )
        if row["name"] in known and known[row["name"]].checksum != row["checksum"]:
            raise BadDocument(f"migration {row['name']} was changed after it was applied to this database")
    done = {row["name"] for row in applied}
    return [migration for migration in known.values() if migration.name not in done]


async def _apply(connection: Connection, migration: Migration, *, lookout: Lookout, patience: Patience) -> None:
    *before, last = migration.steps
    finish = partial(_finish, connection, migration, step=last, lookout=lookout)
    try:
        for step in before:
            alone = partial(_alone, connection, step, lookout=lookout)
            await _patiently(connection, migration, alone, patience=patience)
        await _patiently(connection, migration, finish, patience=patience)
    except (asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError) as error:
        raise BadDocument(f"{_SOMEBODY_ELSES}: {migration.name} finds that {in_words(error)}") from error


async def _alone(connection: Connection, step: str, *, lookout: Lookout) -> None:
    await connection.execute(f"SET lock_timeout = '{0 if _WAITS_ALONE.search(step) else LOCK_TIMEOUT}'")
    await lookout.send(connection, step)


async def _finish(connection: Connection, migration: Migration, *, step: str, lookout: Lookout) -> None:
    """Only a server that answers is told to roll back: on one that does not, we would wait for that as well."""
    await connection.execute("BEGIN")
    try:
        await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        await lookout.send(connection, step)
        await connection.execute(_DONE, migration.name, migration.checksum, migration.needs)
    except asyncpg.PostgresError:
        await connection.execute("ROLLBACK")
        raise
    await lookout.send(connection, "COMMIT")


_DONE = "INSERT INTO migrations (name, checksum, needs) VALUES ($1, $2, $3)"


async def _patiently(
    connection: Connection, migration: Migration, work: Callable[[], Awaitable[None]], *, patience: Patience
) -> None:
    for _ in range(patience.tries):
        try:
            await work()
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
            log.info("migration waits for a lock", migration=migration.name, error=str(error))
            await patience.rest()
        else:
            return
    raise Temporary(
        f"{migration.name} found its tables locked {patience.tries} times over; {await _holder(connection)}",
        system="database",
        operation="migrate",
    )


async def _take_back(dsn: str, migration: Migration, patience: Patience) -> None:
    """On a connection of its own: the other one may be what went wrong. By whoever has the turn, for a replica that
    begins the migration anew needs what is taken back."""
    todo = list(statements(migration.name).values())
    try:
        async with asyncio.timeout(TAKE_BACK_SECONDS), _connected(dsn, patience) as connection:
            await _take_turn(connection, patience)
            if migration in await _pending(connection):
                todo[:] = await left_behind(connection, migration.name)
                while todo:
                    todo[:] = [statement for statement in todo if not await _at_once(connection, statement)]
                    await patience.rest()
            await connection.execute(_AS_IT_WAS)
    except (RemediatorError, asyncpg.PostgresError, TimeoutError) as error:
        log.error(
            "migration given up, and what it leaves behind could not be taken back: the release before will be refused "
            "rows, unless the migration is tried again or this is done",
            migration=migration.name,
            do="; ".join(todo),
            error=str(error) or f"not within {TAKE_BACK_SECONDS:g} s",
        )


async def _at_once(connection: Connection, statement: str) -> bool:
    try:
        await connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT}'; {statement}")
    except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
        return False
    return True


async def _holder(connection: Connection) -> str:
    """The likely culprit, for a person who must decide whether to end it."""
    row = await connection.fetchrow(
        """SELECT pid, application_name, date_trunc('second', clock_timestamp() - xact_start)::text AS age
           FROM pg_stat_activity
           WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
           ORDER BY xact_start LIMIT 1"""
    )
    if row is None:
        return "no transaction is open any more: try again"
    return f"the oldest open transaction is process {row['pid']} ({row['application_name']}), {row['age']} old"
