"""The release before and this one on one database: the old one's statements go on working, and what it left behind is
picked up. `release_0001/statements.jsonl` was recorded from its code (see `recording`), so no history is needed."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from remediator.domain.ids import IncidentId, IntentId
from remediator.domain.incident import IntentState
from remediator.domain.timeline import EntryKind
from remediator.store import escalations, incidents, intents, outbox, timeline
from remediator.store.database import Connection, Database
from remediator.store.migrate import migrate, shipped
from tests.fakes.kubernetes import FakeCluster
from tests.store.facts import alert, file, opening
from tests.system.daemon import running, settings_for, told
from tests.system.rules import SERVICE_DOWN, write_rules
from tests.upgrade.recording import Statement, load, say

RECORDED = load(Path(__file__).parent / "release_0001" / "statements.jsonl")
LEASE = timedelta(seconds=60)

CUT_OFF, PAGE_DUE, OPENED = IncidentId(6), IncidentId(7), IncidentId(8)
"""Incidents the release before left behind: in the middle of a write, with a page due, and just opened."""
BEGUN = IntentId("00000000-0000-4000-8000-000000000002")


async def replay(connection: Connection, statements: Sequence[Statement] = RECORDED) -> None:
    for statement in statements:
        answer = await say(connection, statement)
        assert in_order(statement.sql, answer) == in_order(statement.sql, statement.answer), statement.sql


def in_order(sql: str, answer: Any) -> Any:
    """Rows whose order was never promised, in an order of their own."""
    if isinstance(answer, list) and "ORDER BY" not in sql.rpartition(")")[2]:
        return sorted(answer, key=repr)
    return answer


def said_by_the_release_before(beginning: str) -> Statement:
    """Its first statement that begins so, whatever the spacing."""
    return next(s for s in RECORDED if " ".join(s.sql.split()).startswith(beginning))


@pytest.fixture
async def left_behind(empty_database_address: str) -> str:
    """A database on which only the release before has worked, cut off in the middle of it, then migrated."""
    first, *_ = shipped()
    connection = await asyncpg.connect(empty_database_address)
    await connection.execute(first.sql)
    await connection.execute(
        """CREATE TABLE migrations (
               name text PRIMARY KEY, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"""
    )
    await connection.execute("INSERT INTO migrations VALUES ($1, $2)", first.name, first.checksum)
    await connection.close()
    async with Database.open(empty_database_address, pool=1) as database, database.connection() as tx:
        await replay(tx)
        await tx.execute("UPDATE incidents SET lease_until = now() - interval '1 s'")
    await migrate(empty_database_address)
    return empty_database_address


async def test_every_statement_of_the_release_before_is_answered_as_ever(database: Database) -> None:
    async with database.connection() as connection:
        await replay(connection)


async def test_what_the_release_before_left_due_is_claimed(left_behind: str) -> None:
    async with Database.open(left_behind, pool=2) as database, database.transaction() as tx:
        claimed = {i.id: i for i in await incidents.claim(tx, owner="new", lease=LEASE, limit=20)}
        [due] = [alike for alike in await escalations.claim_due(tx, limit=20) if PAGE_DUE in alike.incidents]
        [begun] = await intents.get_many(tx, [BEGUN])
        await tx.execute("UPDATE outbox SET lease_until = NULL")
        queued = await outbox.claim(tx, lease=LEASE, limit=20)

    assert {CUT_OFF, PAGE_DUE, OPENED} <= claimed.keys()
    assert claimed[CUT_OFF].progress.findings["pods"].facts["age"] == timedelta(minutes=3)
    assert (due.policy.name, due.severity.name) == ("on-call", "sev1")
    assert (begun.state, begun.intent.plan.action) == (IntentState.BEGUN, "delete_pod")
    assert [item.notification.title for item in queued] == ["ServiceDown on over"]


async def test_the_new_release_carries_on_what_the_release_before_left(
    left_behind: str, fake_cluster: FakeCluster, tmp_path: Path
) -> None:
    """With a rule that was edited meanwhile: each incident finishes on the version it began with."""
    fake_cluster.deploy("prod", "opened", replicas=2)
    fake_cluster.break_until_restarted("prod", "opened", pods=1)
    fake_cluster.deploy("prod", "cut-off", replicas=2)
    edited = SERVICE_DOWN.replace("The health check has failed.", "The health check fails.")
    settings = settings_for(
        tmp_path,
        write_rules(tmp_path / "rules", **{"service-down": edited}),
        database_url=left_behind,
        kubeconfig=fake_cluster.write_kubeconfig(tmp_path / "kubeconfig"),
    )

    async with running(settings) as (_, client):
        fixed = await client.until(OPENED, lambda seen: seen["status"] == "resolved")
        cut_off = await client.until(CUT_OFF, lambda seen: seen["status"] == "resolved")
        paged = await client.until(PAGE_DUE, lambda seen: any("sent to alice" in line for line in told(seen)))

    assert any("seen in the world" in line for line in told(cut_off))
    assert ["opened" in str(write) for write in fake_cluster.requests.writes] == [True]
    assert fixed["rule_version"] == cut_off["rule_version"] == paged["rule_version"]


async def test_both_releases_share_the_due_work(database: Database) -> None:
    await file(database, *(alert(f"f{n}") for n in range(50)), opens=lambda a: opening(a.fingerprint))
    old = said_by_the_release_before("WITH due AS ( SELECT id FROM incidents")

    async def claimed_by_the_old() -> set[int]:
        async with database.transaction() as tx:
            return {row["id"] for row in await tx.fetch(old.sql, "old", LEASE, 25)}

    async def claimed_by_the_new() -> set[int]:
        async with database.transaction() as tx:
            return {i.id for i in await incidents.claim(tx, owner="new", lease=LEASE, limit=25)}

    ours, theirs = await asyncio.gather(claimed_by_the_new(), claimed_by_the_old())
    ours |= await claimed_by_the_new()

    assert not ours & theirs
    assert len(ours | theirs) == 50


async def test_either_release_fences_the_other_out(database: Database) -> None:
    await file(database, alert())
    old_claim = said_by_the_release_before("WITH due AS ( SELECT id FROM incidents")
    old_fence = said_by_the_release_before("SELECT epoch FROM incidents WHERE id = $1 FOR NO KEY UPDATE")
    async with database.transaction() as tx:
        [stale] = await tx.fetch(old_claim.sql, "old", timedelta(), 10)
    async with database.transaction() as tx:
        [taken_over] = await incidents.claim(tx, owner="new", lease=LEASE, limit=10)
        seen_by_the_old = await tx.fetchval(old_fence.sql, taken_over.id)

    assert seen_by_the_old == taken_over.epoch == stale["epoch"] + 1


async def test_documents_with_fields_of_a_later_release_are_read(left_behind: str) -> None:
    later = """'{"later": {"of": ["anything"]}}'"""
    async with Database.open(left_behind, pool=1) as database, database.transaction() as tx:
        await tx.execute(
            f"""UPDATE incidents
                SET progress = progress || {later}, alert = alert || {later}, target = target || {later};
                UPDATE escalations SET policy = policy || {later}, severity = severity || {later}, due_at = now();
                UPDATE outbox SET notification = notification || {later}, lease_until = NULL;
                UPDATE intents SET plan = plan || {later};
                INSERT INTO timeline (incident_id, kind, message) VALUES (1, 'later', 'of a kind we do not know')"""  # noqa: S608  # our own text
        )
        everything = await incidents.list_incidents(tx, limit=20)
        due = await escalations.claim_due(tx, limit=20)
        queued = await outbox.claim(tx, lease=LEASE, limit=20)
        [begun] = await intents.get_many(tx, [BEGUN])
        entries = await timeline.of_incident(tx, IncidentId(1))

    assert (len(everything), bool(due), len(queued), begun.state) == (7, True, 1, IntentState.BEGUN)
    assert (entries[-1].kind, entries[-1].message) == (EntryKind.NOTE, "of a kind we do not know")


async def test_documents_that_lack_what_was_added_since_are_read(left_behind: str) -> None:
    async with Database.open(left_behind, pool=1) as database, database.transaction() as tx:
        await tx.execute("UPDATE incidents SET progress = '{}', alert = alert - 'recovered' - 'values'")
        [incident] = [i for i in await incidents.list_incidents(tx, limit=20) if i.id == OPENED]

    assert (incident.progress.holds, incident.alert.recovered, dict(incident.alert.values)) == (0, True, {})
