"""What a worker does about a stage that does not come to an end."""

import asyncio
from datetime import timedelta

import pytest

from remediator.domain.ids import IncidentId
from remediator.domain.incident import Move
from remediator.engine import worker
from remediator.store import incidents, timeline
from remediator.store.database import Database
from tests.cluster.eventually import eventually
from tests.engine.test_undo import at_work
from tests.store.facts import alert, file


async def what_is_told(database: Database) -> str:
    async with database.connection() as connection:
        return "; ".join(entry.message for entry in await timeline.of_incident(connection, IncidentId(1)))


async def test_a_look_that_outlasts_the_lease_is_handed_to_people(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each claim would be overtaken by the next one, and none would ever decide anything."""

    async def look_for_ever(*_: object) -> Move:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    monkeypatch.setattr(worker, "next_move", look_for_ever)
    await file(database, alert())

    async def is_handed_over() -> bool:
        async with database.connection() as connection:
            return (await incidents.get(connection, IncidentId(1))).phase == "handed_over"

    async with at_work(database, lease=timedelta(seconds=1)):
        await eventually(is_handed_over, within=10)

    assert "opened: nothing decided while the lease lasts" in await what_is_told(database)
