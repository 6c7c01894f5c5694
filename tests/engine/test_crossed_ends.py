"""A start and its end that two replicas filed at once: what nobody saw then is found within a minute."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest

from remediator.domain.alert import Alert
from remediator.domain.filing import Birth, Familiar
from remediator.domain.opening import Opening
from remediator.engine.crossed_ends import CrossedEnds
from remediator.store import episodes, incidents, intake
from remediator.store.database import Database
from tests.engine.test_intake import running
from tests.store.facts import alert, count, file, opening, resolved, until_they_wait

OPEN = "episodes WHERE closed_at IS NULL"
ENDS_TOLD = "timeline WHERE message LIKE '%resolved%'"


class Killed(Exception):
    """This replica."""


async def look_when_killed(_: object, began: Sequence[Birth]) -> list[Alert]:
    if began:
        raise Killed
    return []


async def crossed(database: Database, monkeypatch: pytest.MonkeyPatch, rule: Opening | None) -> None:
    """The start is looked up before its end is written, and written after whoever wrote the end has looked for it."""
    monkeypatch.setattr(episodes, "ended_meanwhile", look_when_killed)
    async with database.transaction() as tx:
        await tx.execute(
            "INSERT INTO episodes (source, fingerprint, labels, starts_at) VALUES ('am', 'f1', '{}', now())"
        )
        starting = asyncio.create_task(start(database, rule))
        await until_they_wait(tx, starting)
        await file(database, resolved())
        await tx.execute("DELETE FROM episodes WHERE closed_at IS NULL")
    with suppress(Killed):
        await starting


async def start(database: Database, rule: Opening | None) -> None:
    async with database.connection() as connection:
        await intake.file(connection, [], [alert()], lambda _: rule, Familiar())


async def look(database: Database) -> int:
    async with running(database) as writer:
        return await CrossedEnds(database, writer).tell_again()


@pytest.mark.parametrize("rule", [None, opening()], ids=["no rule wants it", "killed before it looked"])
async def test_an_alert_that_fires_in_our_books_alone_is_ended(
    database: Database, monkeypatch: pytest.MonkeyPatch, rule: Opening | None
) -> None:
    await crossed(database, monkeypatch, rule)
    assert await count(database, OPEN) == 1

    assert (await look(database), await look(database)) == (1, 0)

    assert await count(database, OPEN) == 0
    async with database.connection() as connection:
        found = await incidents.list_incidents(connection)
    assert [(one.firing, one.nudges) for one in found] == ([(False, 1)] if rule else [])


async def test_replicas_that_look_at_once_end_it_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    await crossed(database, monkeypatch, opening())

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
async def test_what_fires_indeed_is_not_ended(database: Database, monkeypatch: pytest.MonkeyPatch, since: str) -> None:
    await crossed(database, monkeypatch, None)
    async with database.connection() as connection:
        await connection.execute(f"UPDATE episodes SET {since}")  # noqa: S608  # our own

    assert await look(database) == 0

    assert await count(database, OPEN) == 1
