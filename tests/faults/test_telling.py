"""{fire, resolve, fire again} x {repeated, reordered, delayed, lost}, against the reference model and the truth."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from itertools import cycle
from uuid import uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from remediator.domain.alert import Alert, Delivery
from remediator.domain.episode import Filing, OpenEpisode
from remediator.domain.filing import Book, Familiar, decide
from remediator.domain.ids import EpisodeId, Fingerprint, SourceName
from remediator.store import filing
from remediator.store.database import Database
from tests.fakes.postgres import database_dsn
from tests.faults.telling import Note, Telling
from tests.store.facts import opening

ALERT = Fingerprint("f1")


class InMemory(Telling):
    """The decision alone, as the store makes it: what is known before, and what of it is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.book = Book()

    def file(self, note: Note) -> Filing:
        changes = decide([told := note.alert(ALERT)], {told.key: self.book}, self.now)
        if self.book.born is not None:
            self.book.born, self.book.open_episode = None, OpenEpisode(EpisodeId(1), note.starts_at)
            self.book.seen_lately = False
        [became] = changes.filings
        return became

    def believes(self) -> bool:
        return self.book.open_episode is not None


TestInMemory = InMemory.TestCase
TestInMemory.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.parametrize("is_ruled", [True, False], ids=["of a rule", "of no rule: filed in one statement"])
def test_the_database_believes_the_same(postgres_dsn: str, runner: asyncio.Runner, *, is_ruled: bool) -> None:
    """Real transactions on real rows, of two replicas, each with what it remembers; time passes by moving what was
    written into the past."""
    name = f"telling_{uuid4().hex}"
    runner.run(_execute(postgres_dsn, f"CREATE DATABASE {name} TEMPLATE remediator_template"))
    opened = Database.open(database_dsn(postgres_dsn, name), pool=2)
    database = runner.run(opened.__aenter__())

    class InDatabase(Telling):
        def __init__(self) -> None:
            super().__init__()
            self.alert = Fingerprint(uuid4().hex[:16])
            self.replicas = cycle((Familiar(), Familiar()))

        def file(self, note: Note) -> Filing:
            told = note.alert(self.alert)
            return runner.run(_file(database, told, next(self.replicas), is_ruled=is_ruled))

        def believes(self) -> bool:
            return runner.run(_count_open(database, self.alert)) == 1

        def pass_time(self, span: timedelta) -> None:
            super().pass_time(span)
            runner.run(_age(database, self.alert, span))

    try:
        run_state_machine_as_test(
            InDatabase,
            settings=settings(
                max_examples=25, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
            ),
        )
    finally:
        runner.run(opened.__aexit__(None, None, None))
        runner.run(_execute(postgres_dsn, f"DROP DATABASE {name} WITH (FORCE)"))


async def _file(database: Database, told: Alert, familiar: Familiar, *, is_ruled: bool) -> Filing:
    delivery = Delivery(SourceName("am"), b"{}", (told,))
    async with database.connection() as connection:
        result = await filing.file(
            connection, [delivery], [told], lambda told: opening(told.fingerprint) if is_ruled else None, familiar
        )
    [became] = result.filings
    return became


async def _count_open(database: Database, fingerprint: Fingerprint) -> int:
    async with database.connection() as connection:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM episodes WHERE fingerprint = $1 AND closed_at IS NULL", fingerprint
        )
    return count


async def _age(database: Database, fingerprint: Fingerprint, span: timedelta) -> None:
    async with database.transaction() as tx:
        await tx.execute(
            """UPDATE episodes SET opened_at = opened_at - $2::interval, closed_at = closed_at - $2::interval,
                   last_seen_at = last_seen_at - $2::interval WHERE fingerprint = $1""",
            fingerprint,
            span,
        )


async def _execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
