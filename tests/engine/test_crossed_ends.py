"""A start and its end that two replicas filed at once: neither saw the other, and both are found."""

import asyncio
from datetime import timedelta

import pytest

from remediator.domain.opening import Opening
from remediator.engine import crossed_ends as engine
from remediator.engine.bell import Bell
from remediator.engine.crossed_ends import CrossedEnds
from remediator.store import incidents
from remediator.store.database import Database
from tests.cluster.eventually import eventually
from tests.engine.taking_in import of, running
from tests.store.facts import alert, count, file, opening, resolved, until_they_wait

OPEN = "episodes WHERE closed_at IS NULL"
ENDS_TOLD = "timeline WHERE message LIKE '%resolved%'"


async def crossed(database: Database, rule: Opening | None = None) -> None:
    """The start is looked up before its end is written, and written after it."""
    async with database.transaction() as tx:
        await tx.execute(
            "INSERT INTO episodes (source, fingerprint, labels, starts_at) VALUES ('am', 'f1', '{}', now())"
        )
        starting = asyncio.create_task(file(database, alert(), opens=lambda _: rule))
        await until_they_wait(tx, starting)
        await file(database, resolved())
        await tx.execute("DELETE FROM episodes WHERE closed_at IS NULL")
    await starting


async def look(database: Database) -> int:
    async with running(database) as writer:
        return await CrossedEnds(database, writer, Bell()).tell_again()


@pytest.mark.parametrize("rule", [None, opening()], ids=["no rule wants it", "it has an incident"])
async def test_an_alert_that_fires_in_our_books_alone_is_ended(database: Database, rule: Opening | None) -> None:
    await crossed(database, rule)
    assert await count(database, OPEN) == 1

    assert (await look(database), await look(database)) == (1, 0)

    assert await count(database, OPEN) == 0
    async with database.connection() as connection:
        found = await incidents.list_incidents(connection)
    assert [(one.firing, one.nudges) for one in found] == ([(False, 1)] if rule else [])


async def test_whoever_files_the_end_of_nothing_looks_soon(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SOON", timedelta())
    ends_bell = Bell()
    async with running(database, bells=(Bell(), Bell(), ends_bell)) as intake:
        looking = asyncio.create_task(CrossedEnds(database, intake, ends_bell).run())
        try:
            await crossed(database)
            await intake.accept(of(resolved("f2")))
            await eventually(lambda: _is_over(database))
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)


async def _is_over(database: Database) -> bool:
    return await count(database, OPEN) == 0


async def test_replicas_that_look_at_once_end_it_once(database: Database) -> None:
    await crossed(database, opening())

    await asyncio.gather(*(look(database) for _ in range(3)))

    assert (await count(database, "episodes"), await count(database, ENDS_TOLD)) == (2, 1)


@pytest.mark.parametrize(
    "since",
    [
        pytest.param("starts_at = now() + interval '1 second' WHERE closed_at IS NULL", id="it began anew"),
        pytest.param("last_seen_at = now() + interval '6 min' WHERE closed_at IS NULL", id="it is told on and on"),
        pytest.param("closed_at = now() - interval '6 min' WHERE closed_at IS NOT NULL", id="it ended long before"),
    ],
)
async def test_what_fires_indeed_is_not_ended(database: Database, since: str) -> None:
    await crossed(database)
    async with database.connection() as connection:
        await connection.execute(f"UPDATE episodes SET {since}")  # noqa: S608  # our own

    assert await look(database) == 0

    assert await count(database, OPEN) == 1
