"""Everything stands still for longer than two steps of the chain: afterwards the current step is paged, once.

Time is the database's: what would be hours is moved in its rows, and the clocks of the daemons' machines are wrong.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from tests.cluster.eventually import eventually
from tests.faults.inbox import Inbox, Post
from tests.faults.nursery import Nursery
from tests.faults.serving import serving
from tests.system.daemon import API_TOKEN, TOKEN, Client
from tests.system.rules import SEVERITIES, write_rules

ALERT = {"alertname": "ServiceDown", "namespace": "prod", "deployment": "backend"}
POLICY = """
policy: on-call
steps:
  - { page: [alice], wait: 15m }
  - { page: [bob], wait: 15m }
  - { page: [carol], wait: 15m }
repeat_every: 15m
"""
PEOPLE = "people:\n" + "".join(
    f"  {name}: {{ name: {name}, reach: [{{ channel: pager }}] }}\n" for name in ("alice", "bob", "carol")
)


@asynccontextmanager
async def _serving(nursery: Nursery, folder: Path, dsn: str, *, sink: str, clock_hours: float) -> AsyncIterator[Client]:
    """One daemon, at a clock that may be wrong."""
    environment = {
        "DATABASE_URL": dsn,
        "REMEDIATOR_MODE": "act",
        "REMEDIATOR_DATA_DIR": str(folder / "data"),
        "REMEDIATOR_RULES_DIR": str(_rules(folder / "rules", sink)),
        "REMEDIATOR_WEBHOOKS__TOKENS": f'{{"alertmanager": ["{TOKEN}"]}}',
        "REMEDIATOR_API_TOKENS": f'{{"tests": {{"token": "{API_TOKEN}", "roles": ["read", "respond"]}}}}',
        "REMEDIATOR_SECRETS": '{"sink": "signing"}',
        "REMEDIATOR_ENGINE__POLL_SECONDS": "0.05",
        "FAULTS_CLOCK_HOURS": str(clock_hours),
    }
    async with serving(nursery, environment, folder) as (_, client):
        yield client


def _rules(folder: Path, sink: str) -> Path:
    return write_rules(
        folder,
        severities=SEVERITIES.replace("after_verify", "at_once"),
        **{"escalation__on-call": POLICY},
        oncall__people=PEOPLE,
        oncall__channels=f"channels:\n  pager: {{ use: webhook, url: '{sink}/pager', secret: sink }}\n",
    )


@pytest.fixture
async def pages() -> AsyncIterator[tuple[str, Inbox]]:
    """The sink's address, and what has arrived there."""
    async with Post.open() as post:
        inbox = post.inboxes["late"] = Inbox()
        yield f"{post.url}/late", inbox


@pytest.mark.timeout(180)
async def test_after_a_long_stop_the_current_step_is_paged_once_and_not_every_step_that_was_missed(
    tmp_path: Path, database_address: str, pages: tuple[str, Inbox]
) -> None:
    sink, inbox = pages

    async with Nursery.open() as nursery:
        async with _serving(nursery, tmp_path, database_address, sink=sink, clock_hours=0) as client:
            await client.alert(**ALERT)
            await _until_paged(inbox, "1:1:0:alice")
            await _until_quiet(database_address)
        await _pass(database_address, "40 minutes")
        async with _serving(nursery, tmp_path, database_address, sink=sink, clock_hours=0):
            await _until_paged(inbox, "1:1:2:carol")
            await _until_quiet(database_address)

    assert [arrival.dedup_key for arrival in inbox.arrivals] == ["1:1:0:alice", "1:1:2:carol"]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("hours", [1, -1], ids=["an hour ahead", "an hour behind"])
async def test_a_machine_whose_clock_is_wrong_pages_neither_early_nor_late(
    tmp_path: Path, database_address: str, pages: tuple[str, Inbox], hours: int
) -> None:
    sink, inbox = pages

    async with (
        Nursery.open() as nursery,
        _serving(nursery, tmp_path, database_address, sink=sink, clock_hours=hours) as client,
    ):
        await client.alert(**ALERT)
        await _until_paged(inbox, "1:1:0:alice")
        await client.alert(**ALERT | {"deployment": "frontend"})
        await _until_paged(inbox, "2:1:0:alice")
        early = [arrival.dedup_key for arrival in inbox.arrivals]
        await _pass(database_address, "15 minutes 1 second")
        await _until_paged(inbox, "1:1:1:bob")

    assert early == ["1:1:0:alice", "2:1:0:alice"]


async def _until_paged(inbox: Inbox, key: str) -> None:
    async def is_there() -> bool:
        return any(arrival.dedup_key == key for arrival in inbox.arrivals)

    await eventually(is_there)


async def _until_quiet(dsn: str) -> None:
    """Nobody is due and nothing is queued: whatever would be paged has been."""

    async def is_quiet() -> bool:
        connection = await asyncpg.connect(dsn)
        try:
            due = await connection.fetchval(
                """SELECT (SELECT count(*) FROM escalations WHERE due_at <= now())
                     + (SELECT count(*) FROM outbox WHERE state = 'queued')"""
            )
        finally:
            await connection.close()
        return bool(due == 0)

    await eventually(is_quiet)


async def _pass(dsn: str, span: str) -> None:
    """What so much time would do to the chain."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(
            f"""UPDATE escalations SET due_at = due_at - interval '{span}',
                    started_at = started_at - interval '{span}'"""  # noqa: S608  # the test's own words
        )
    finally:
        await connection.close()
