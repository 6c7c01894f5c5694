"""What a worker does about a stage that does not come to an end, or to one that can be stored."""

import asyncio
from datetime import timedelta

import pytest
from msgspec.structs import replace

from remediator.domain.finding import Finding
from remediator.domain.ids import IncidentId
from remediator.domain.incident import Incident, Move, Phase
from remediator.engine import worker
from remediator.store import incidents, timeline
from remediator.store.database import Database
from tests.cluster.eventually import eventually
from tests.engine.working import at_work
from tests.store.facts import alert, file


async def what_is_told(database: Database) -> str:
    async with database.connection() as connection:
        return "; ".join(entry.message for entry in await timeline.of_incident(connection, IncidentId(1)))


async def is_handed_over(database: Database) -> bool:
    async with database.connection() as connection:
        return (await incidents.get(connection, IncidentId(1))).phase is Phase.HANDED_OVER


async def test_a_look_that_outlasts_the_lease_is_handed_to_people(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each claim would be overtaken by the next one, and none would ever decide anything."""

    async def look_for_ever(*_: object) -> Move:
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    monkeypatch.setattr(worker, "next_move", look_for_ever)
    await file(database, alert())

    async with at_work(database, lease=timedelta(seconds=2)):
        await eventually(lambda: is_handed_over(database), within=20)

    assert "opened: nothing decided while the lease lasts" in await what_is_told(database)


async def test_what_cannot_be_stored_is_handed_to_people(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each claim would come as far, and no further; nobody would hear of it."""

    async def find_something_odd(incident: Incident, *_: object) -> Move:
        found = Finding(ok=True, summary="odd", facts={"odd": object()})
        return Move(Phase.DIAGNOSED, replace(incident.progress, findings={"odd": found}))

    monkeypatch.setattr(worker, "next_move", find_something_odd)
    await file(database, alert())

    async with at_work(database):
        await eventually(lambda: is_handed_over(database), within=20)

    assert "diagnosed: it cannot be stored: TypeError" in await what_is_told(database)
