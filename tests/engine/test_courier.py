"""The courier at work: what a channel does to the messages that wait for it, and to those of its neighbours."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from remediator.clients.http import open_http
from remediator.domain.ids import IncidentId
from remediator.domain.incident import Incident
from remediator.domain.notification import Notification, NotificationKind
from remediator.domain.oncall import Contact
from remediator.engine.bell import Bell
from remediator.engine.courier import CLAIMED_AT_ONCE, Courier
from remediator.metrics import Metrics
from remediator.rules.loader import load_rules
from remediator.store import outbox, timeline
from remediator.store.database import Database
from remediator.store.outbox import Outgoing
from remediator.toolbox import Messengers
from tests.store.facts import claimed
from tests.system.rules import write_rules

CONSOLE = Contact("console", "")


@pytest.fixture
async def busy() -> AsyncIterator[TestServer]:
    """A channel that takes nothing for now, and does not say for how long."""

    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=503)

    app = web.Application()
    app.router.add_post("/page", refuse)
    async with TestServer(app) as server:
        yield server


@pytest.fixture
async def courier(database: Database, tmp_path: Path, busy: TestServer) -> AsyncIterator[Courier]:
    channels = f"""
channels:
  console: {{ use: console }}
  busy: {{ use: webhook, url: "{busy.make_url("/page")}", secret: bench }}
"""
    rulebook = load_rules(write_rules(tmp_path, oncall__channels=channels)).rulebook
    async with open_http(private_networks=True) as http:
        messengers = Messengers(http, secrets={"bench": "signing"})
        yield Courier(database, lambda: rulebook, messengers, bell=Bell(), poll=timedelta(seconds=1), metrics=Metrics())


def page(incident: Incident, key: str, *reach: Contact) -> Outgoing:
    note = Notification(incident.id, NotificationKind.PAGE, key, "alice", "", "", "down", "sev1", "")
    return Outgoing(note, reach, incident.rule)


async def order(database: Database, *messages: Outgoing) -> None:
    async with database.transaction() as tx:
        await outbox.enqueue(tx, messages)


async def states(database: Database) -> dict[str, str]:
    async with database.connection() as connection:
        return {row["dedup_key"]: row["state"] for row in await connection.fetch("SELECT dedup_key, state FROM outbox")}


async def told(database: Database, incident: IncidentId) -> list[str]:
    async with database.connection() as connection:
        return [entry.message for entry in await timeline.of_incident(connection, incident)]


async def test_what_was_sent_is_recorded_and_told(database: Database, courier: Courier) -> None:
    incident = await claimed(database)
    await order(database, *(page(incident, f"key-{n}", CONSOLE) for n in range(3)))

    assert await courier.deliver() == 3

    assert await states(database) == {"key-0": "sent", "key-1": "sent", "key-2": "sent"}
    assert (await told(database, incident.id))[-3:] == ["page sent to alice by console"] * 3


async def test_one_that_fails_does_not_touch_those_it_is_recorded_with(database: Database, courier: Courier) -> None:
    incident = await claimed(database)
    gone = Contact("no-such-channel", "")
    await order(database, page(incident, "well", CONSOLE), page(incident, "falls", gone, CONSOLE))

    await courier.deliver()
    after_one = await states(database)
    await courier.deliver()

    assert after_one == {"well": "sent", "falls": "queued"}
    assert await states(database) == {"well": "sent", "falls": "sent"}


async def test_a_channel_that_is_busy_is_tried_again_later(database: Database, courier: Courier) -> None:
    incident = await claimed(database)
    await order(database, page(incident, "later", Contact("busy", ""), CONSOLE))

    await courier.deliver()

    assert await states(database) == {"later": "queued"}
    assert await courier.deliver() == 0, "its time has not come"


async def test_no_more_are_claimed_at_once_than_there_is_room_for(database: Database, courier: Courier) -> None:
    incident = await claimed(database)
    await order(database, *(page(incident, f"key-{n}", CONSOLE) for n in range(CLAIMED_AT_ONCE + 1)))

    assert (await courier.deliver(), await courier.deliver()) == (CLAIMED_AT_ONCE, 1)
