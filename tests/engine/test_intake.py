"""The writer: what is answered is stored, one bad alert costs nobody theirs, and a sick database is told at once."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from remediator.domain.alert import Accepted, Alert, Delivery
from remediator.domain.errors import Overloaded, Temporary
from remediator.domain.ids import SourceName
from remediator.engine import intake as engine
from remediator.engine.fair_queue import FEWEST_ALERTS_A_BATCH
from remediator.engine.intake import Intake
from remediator.store import bodies, episodes, filing
from remediator.store.database import Connection, Database
from tests.cluster.eventually import eventually
from tests.engine.taking_in import Rules, of, running
from tests.store.facts import alert, count, resolved


@dataclass
class FreezingPool:
    """A database that answers nobody while it is frozen."""

    pool: Any
    thawed: asyncio.Event = field(default_factory=asyncio.Event)

    async def acquire(self) -> Any:
        await self.thawed.wait()
        return await self.pool.acquire()

    async def release(self, connection: Any) -> None:
        await self.pool.release(connection)


async def test_concurrent_deliveries_are_each_answered_after_their_alerts_are_stored(database: Database) -> None:
    async with running(database) as intake:
        answers = await asyncio.gather(*(intake.accept(of(alert(f"f{n}"))) for n in range(100)))

    assert answers == [Accepted(1, 0, 0)] * 100
    assert (await count(database, "episodes"), await count(database, "deliveries")) == (100, 100)


async def test_a_row_that_somebody_holds_closes_the_door_to_nobody_else(database: Database) -> None:
    """An idle session of somebody's, or a replica that froze in a transaction."""
    async with running(database) as intake:
        await intake.accept(of(alert("f1")))
        async with database.transaction() as somebody:
            await somebody.execute("SELECT FROM incidents FOR UPDATE")
            with pytest.raises(Overloaded, match="lock timeout; send it again"):
                await intake.accept(of(alert("f2")))

            assert await intake.accept(of(resolved("f3"))) == Accepted(1, 0, 0)


async def test_a_delivery_of_many_parts_is_answered_once_all_of_it_is_stored(database: Database) -> None:
    async with running(database) as intake:
        answer = await intake.accept(of(*(alert(f"f{n}") for n in range(2_500))))

    assert answer.stored == 2_500
    assert (await count(database, "episodes"), await count(database, "deliveries")) == (2_500, 1)


async def test_an_alert_that_cannot_be_stored_is_put_aside_and_its_neighbours_are_stored(database: Database) -> None:
    async with running(database, Rules(stumbles_over="f7")) as intake:
        answers = await asyncio.gather(
            intake.accept(of(*(alert(f"f{n}") for n in range(10)))), intake.accept(of(alert("g1")))
        )

    assert [answer.stored for answer in answers] == [10, 1]
    assert (await count(database, "episodes"), await count(database, "quarantine")) == (10, 1)


async def test_alerts_put_aside_say_which_they_were_and_their_body_is_kept_once(database: Database) -> None:
    async with running(database, Rules(stumbles_over="f0 f1 f2 f3")) as intake:
        await intake.accept(of(*(alert(f"f{n}") for n in range(4))))

    async with database.connection() as connection:
        positions = await connection.fetch("SELECT position FROM quarantine ORDER BY position")
    assert [row["position"] for row in positions] == [0, 1, 2, 3]
    assert await count(database, "deliveries WHERE body <> ''") == 1


@pytest.mark.parametrize(
    ("failure", "is_told"),
    [
        (Temporary("it went away just then", system="database", operation="keep"), "went away"),
        (ZeroDivisionError("a bug in keeping it"), "neither stored nor put aside"),
    ],
)
async def test_the_door_is_open_again_after_an_alert_could_not_even_be_put_aside(
    database: Database, monkeypatch: pytest.MonkeyPatch, failure: Exception, is_told: str
) -> None:
    async def failing(_tx: Connection, _deliveries: Sequence[Delivery]) -> None:
        raise failure

    monkeypatch.setattr(bodies, "keep", failing)
    async with running(database, Rules(stumbles_over="f1")) as intake:
        with pytest.raises(Overloaded, match=is_told):
            await intake.accept(of(alert("f1")))
        await eventually(lambda: _is_taken(intake, alert("f2")))

    assert (await count(database, "quarantine"), await count(database, "episodes")) == (0, 1)


@asynccontextmanager
async def given_up_on(
    database: Database, monkeypatch: pytest.MonkeyPatch, rules: Rules | None = None
) -> AsyncIterator[Intake]:
    """The alert f1 was refused, for the database did not answer; when left, it answers again and alerts are taken."""
    monkeypatch.setattr(engine, "PATIENCE", engine.RETRY_EVERY)
    pool: Any = FreezingPool(database.pool)
    async with running(Database(pool), rules) as intake:
        with pytest.raises(Overloaded, match="does not answer"):
            await intake.accept(of(alert("f1")))
        yield intake
        pool.thawed.set()
        await eventually(lambda: _is_taken(intake, alert("f2")))


async def test_a_database_that_does_not_answer_is_told_to_senders_and_newcomers_are_refused_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with given_up_on(database, monkeypatch) as intake:
        with pytest.raises(Overloaded):
            intake.admit(SourceName("am"), 10)

    assert await count(database, "episodes") == 2


@pytest.mark.parametrize("hangs", [False, True], ids=["sitting an outage out", "waiting for an answer"])
async def test_who_comes_while_one_writer_waits_for_the_database_is_served_by_the_other(
    database: Database, monkeypatch: pytest.MonkeyPatch, *, hangs: bool
) -> None:
    """Which takes nothing but crowds elsewhere. Nobody would have told them anything."""
    file, may_store, answers = filing.file, asyncio.Event(), asyncio.Event()
    share, left = FEWEST_ALERTS_A_BATCH, engine.A_CROWD
    if not hangs:
        answers.set()

    async def one_of_two(connection: Connection, deliveries: list[Delivery], alerts: Sequence[Alert], *how: Any) -> Any:
        if len(alerts) == share:
            await answers.wait()
            raise Temporary("the disk is full", system="database", operation="file")
        await may_store.wait()
        return await file(connection, deliveries, alerts, *how)

    monkeypatch.setattr(filing, "file", one_of_two)
    monkeypatch.setattr(engine, "PATIENCE", engine.RETRY_EVERY)
    database.health.lost("the disk is full", answers=True)
    async with running(database) as intake:
        crowd = (intake.accept(of(alert(f"f{n}"))) for n in range(share + left))
        await asyncio.gather(*crowd, return_exceptions=True)
        may_store.set()
        await eventually(lambda: _are_stored(database, left))

        async with asyncio.timeout(5):
            assert await intake.accept(of(alert("late"))) == Accepted(1, 0, 0)


async def _are_stored(database: Database, episodes: int) -> bool:
    return await count(database, "episodes") == episodes


async def test_an_alert_put_aside_by_a_slow_database_leaves_the_door_open(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with given_up_on(database, monkeypatch, Rules(stumbles_over="f1")):
        pass

    assert (await count(database, "quarantine"), await count(database, "episodes")) == (1, 1)


async def test_a_body_is_kept_once_however_often_the_rest_of_it_is_tried(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alert told with a later start is taken for one that is told again: its body is kept before that is seen."""
    restart, failures = episodes.restart, iter([Temporary("a deadlock", system="database", operation="file")] * 3)

    async def stumbling(tx: Connection, restarts: Mapping[int, datetime], **how: Any) -> None:
        if restarts and (failure := next(failures, None)) is not None:
            raise failure
        await restart(tx, restarts, **how)

    monkeypatch.setattr(episodes, "restart", stumbling)
    async with running(database) as intake:
        await intake.accept(of(alert()))
        await intake.accept(of(alert(starts_at=datetime.now(UTC) + timedelta(seconds=1))))

    assert next(failures, None) is None
    assert (await count(database, "episodes"), await count(database, "deliveries")) == (1, 2)


async def _is_taken(intake: Intake, told: Alert) -> bool:
    try:
        await intake.accept(of(told))
    except Overloaded:
        return False
    return True


async def test_an_alert_is_refused_while_a_table_is_missing_not_put_aside(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would be, with a 2xx: what is wrong has nothing to do with it."""
    monkeypatch.setattr(engine, "PATIENCE", engine.RETRY_EVERY)
    async with running(database) as intake:
        await _run(database, "ALTER TABLE episodes RENAME TO elsewhere")
        with pytest.raises(Overloaded, match="nothing is stored"):
            await intake.accept(of(alert("f1")))
        await _run(database, "ALTER TABLE elsewhere RENAME TO episodes")
        await eventually(lambda: _is_taken(intake, alert("f1")))

    assert (await count(database, "quarantine"), await count(database, "episodes")) == (0, 1)


async def test_what_goes_wrong_once_is_tried_once_more_before_an_alert_is_put_aside(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While an index is built anew beside it, `ON CONFLICT` may meet a double that is none."""
    file, errors = filing.file, [asyncpg.UniqueViolationError("duplicate key")]

    async def file_at_the_second_try(*what: Any) -> Any:
        if errors:
            raise errors.pop()
        return await file(*what)

    monkeypatch.setattr(filing, "file", file_at_the_second_try)
    async with running(database) as intake:
        await intake.accept(of(alert("f1")))

    assert (await count(database, "quarantine"), await count(database, "episodes")) == (0, 1)


async def _run(database: Database, statement: str) -> None:
    async with database.transaction() as tx:
        await tx.execute(statement)
