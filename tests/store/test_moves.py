"""Who may commit a move, and what the transaction that journals a write still refuses."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from dataclasses import replace as changed
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from msgspec.structs import replace

from remediator.domain.budget import Budget
from remediator.domain.errors import BudgetSpent, NotAllowed, Outdated, StaleFence
from remediator.domain.finding import Finding
from remediator.domain.ids import IntentId
from remediator.domain.incident import Incident, Intent, IntentResult, IntentState, Move, Phase, Progress, Status
from remediator.domain.plan import Plan
from remediator.domain.target import Target
from remediator.store import incidents, intents, ledger, moves
from remediator.store.database import Database
from remediator.store.moves import Decided
from tests.store.facts import LEASE, alert, claimed, file, opening, resolved, until_they_wait

PLAN = Plan("scale", Target("deployment", "backend", "prod"), "scale it", (), "still 3")
ON = Move(Phase.DIAGNOSED, Progress())


def intent_of(incident: Incident, *budgets: Budget, **changes: object) -> Intent:
    made = Intent(IntentId(str(uuid4())), incident.id, "fix[0]", PLAN, budgets=budgets)
    return replace(made, **changes)


async def commit(database: Database, incident: Incident, move: Move) -> Incident:
    async with database.transaction() as tx:
        [after] = await moves.commit(tx, [Decided(incident, move)], lease=LEASE)
    if isinstance(after, Exception):
        raise after
    return after


async def claim(database: Database, limit: int = 100) -> list[Incident]:
    async with database.transaction() as tx:
        return await incidents.claim(tx, owner="another", lease=LEASE, limit=limit)


async def test_what_a_later_release_began_is_left_to_it_and_still_shown(database: Database) -> None:
    await file(database, alert("f1"), alert("f2"), opens=lambda told: opening(told.fingerprint))
    async with database.transaction() as tx:
        later = await tx.fetchval("UPDATE incidents SET phase = 'rehearsed' WHERE run_key = 'f1' RETURNING id")

    taken = await claim(database)
    async with database.connection() as connection:
        shown = await incidents.get(connection, later)

    assert ([one.id for one in taken], shown.phase) == ([later + 1], Phase.LATER)


@pytest.mark.parametrize("unreadable", ["progress = '{\"findings\": 7}'", "mode = 'rehearse'", "target = '7'"])
async def test_an_incident_that_cannot_be_read_keeps_nobody_from_the_others(
    database: Database, unreadable: str
) -> None:
    """Another release has stored it; the loop that claims must not die of it, and the daemon with it."""
    await file(database, alert("f1"), alert("f2"), opens=lambda told: opening(told.fingerprint))
    async with database.transaction() as tx:
        await tx.execute(f"UPDATE incidents SET {unreadable} WHERE run_key = 'f1'")  # noqa: S608  # our own
        readable = await tx.fetchval("SELECT id FROM incidents WHERE run_key = 'f2'")

    assert [incident.id for incident in await claim(database)] == [readable]
    assert await claim(database) == [], "it is tried again when its lease has run out, not round and round"


async def test_two_workers_never_hold_the_same_incident(database: Database) -> None:
    await file(database, *(alert(f"f{n}") for n in range(50)), opens=lambda a: opening(a.fingerprint))

    first, second, third = await asyncio.gather(*(claim(database, 20) for _ in range(3)))

    held = [incident.id for incident in (*first, *second, *third)]
    assert len(held) == len(set(held)) == 50


async def test_a_claim_that_was_overtaken_cannot_commit(database: Database) -> None:
    incident = await claimed(database)
    async with database.transaction() as tx:
        await tx.execute("UPDATE incidents SET lease_until = now() - interval '1 s'")
    [taken_over] = await claim(database)

    with pytest.raises(StaleFence):
        await commit(database, incident, ON)
    await commit(database, taken_over, ON)


async def test_a_person_who_resolves_fences_the_worker_out(database: Database) -> None:
    incident = await claimed(database)
    async with database.transaction() as tx:
        await incidents.resolve(tx, incident.id, by="alice", note="")

    with pytest.raises(StaleFence):
        await commit(database, incident, ON)


async def test_what_happened_meanwhile_wakes_at_once_whatever_the_move_says(database: Database) -> None:
    incident = await claimed(database)
    await file(database, resolved())

    await commit(database, incident, replace(ON, wake_in=timedelta(hours=1)))

    assert [found.id for found in await claim(database)] == [incident.id]


async def test_an_incident_is_not_resolved_under_an_alert_that_has_just_joined_it(database: Database) -> None:
    await file(database, alert("f1"))
    await file(database, resolved("f1"))
    [over] = await claim(database)
    await file(database, alert("f2"))

    with pytest.raises(Outdated):
        await commit(database, over, Move(Phase.CLOSED, Progress(), status=Status.RESOLVED))

    async with database.transaction() as tx:
        await incidents.release(tx, over)
    [again] = await claim(database)
    assert (again.id, again.firing, again.status) == (over.id, True, Status.TRIGGERED)


_GATE = """
UPDATE incidents SET wake_at = now() - interval '1 hour' WHERE run_key = 'first';
CREATE FUNCTION wait_at_the_gate() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$;
CREATE TRIGGER gate BEFORE UPDATE ON incidents FOR EACH ROW WHEN (OLD.run_key = 'first')
    EXECUTE FUNCTION wait_at_the_gate();
"""


async def claimed_while(database: Database, meanwhile: Callable[[], Awaitable[object]]) -> list[Incident]:
    """Those but the first, claimed by a statement that had begun, and waited at another, when it happened."""
    await file(database, alert("another"), opens=lambda _: opening("first"))
    async with database.transaction() as tx:
        await tx.execute(_GATE)
    async with database.transaction() as gate:
        await gate.execute("SELECT pg_advisory_xact_lock(1)")
        claiming = asyncio.create_task(claim(database))
        await until_they_wait(gate, claiming)
        assert not claiming.done()
        await meanwhile()
    return (await claiming)[1:]


async def test_an_incident_is_not_resolved_under_an_alert_that_joined_it_while_it_was_claimed(
    database: Database,
) -> None:
    """The claim's look at its alerts may be older than the row that it gets."""
    await file(database, alert("f1"))
    await file(database, resolved("f1"))

    [over] = await claimed_while(database, lambda: file(database, alert("f2")))

    with pytest.raises(Outdated):
        await commit(database, over, Move(Phase.CLOSED, Progress(), status=Status.RESOLVED))


async def test_an_end_that_was_told_while_its_incident_was_claimed_wakes_it_once_more(database: Database) -> None:
    await file(database, alert("f1"), alert("f2"))
    await file(database, resolved("f1"))

    [held] = await claimed_while(database, lambda: file(database, resolved("f2")))
    await commit(database, held, Move(Phase.HANDED_OVER, Progress(), wake_in=None))

    [again] = await claim(database)
    assert (again.id, again.firing) == (held.id, False)


async def test_what_a_later_release_took_on_while_it_was_claimed_is_left_to_it(database: Database) -> None:
    async def taken_on() -> None:
        async with database.transaction() as tx:
            await tx.execute("UPDATE incidents SET phase = 'rehearsed' WHERE run_key <> 'first'")

    await file(database, alert())

    assert await claimed_while(database, taken_on) == []


async def test_a_move_that_waits_sleeps_and_one_that_goes_on_keeps_the_lease(database: Database) -> None:
    incident = await claimed(database)
    going_on = await commit(database, incident, ON)
    nobody = await claim(database)
    await commit(database, going_on, replace(ON, wake_in=timedelta(hours=1)))

    assert (nobody, await claim(database)) == ([], [])


async def test_facts_keep_their_types_through_the_database(database: Database) -> None:
    incident = await claimed(database)
    facts = {"age": timedelta(minutes=3), "at": datetime(2026, 3, 1, tzinfo=UTC), "names": ["a"], "share": 0.5, "n": 3}
    progress = Progress(findings={"rollout": Finding(ok=True, summary="", facts=facts)})

    await commit(database, incident, Move(Phase.DIAGNOSED, progress))

    async with database.connection() as connection:
        assert (await incidents.get(connection, incident.id)).progress.findings["rollout"].facts == facts


@pytest.mark.parametrize("change", ["kill switch", "alert resolved", "lease too short"])
async def test_an_intent_is_refused_when_the_world_has_changed_since_the_guards_said_yes(
    database: Database, change: str
) -> None:
    incident = await claimed(database)
    intent = intent_of(incident)
    if change == "kill switch":
        async with database.transaction() as tx:
            await ledger.set_kill_switch(tx, on=True, by="alice", reason="stop")
    elif change == "alert resolved":
        await file(database, resolved())
    else:
        intent = replace(intent, timeout=LEASE + timedelta(seconds=1))

    with pytest.raises(NotAllowed):
        await commit(database, incident, replace(ON, intent=intent))

    async with database.connection() as connection:
        assert await intents.of_incident(connection, incident.id) == []


async def test_the_kill_switch_waits_for_a_write_that_is_being_journalled(database: Database) -> None:
    """Else a write would begin after somebody was told that none does."""
    incident = await claimed(database)

    async def stop() -> None:
        async with database.transaction() as tx:
            await ledger.set_kill_switch(tx, on=True, by="alice", reason="stop")

    async with database.transaction() as tx:
        await moves.commit(tx, [Decided(incident, replace(ON, intent=intent_of(incident)))], lease=LEASE)
        stopping = asyncio.create_task(stop())
        await until_they_wait(tx, stopping)
        assert not stopping.done()
    await stopping


HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize("windows", [(HOUR, HOUR), (HOUR, DAY)], ids=["one window", "a window that was edited"])
async def test_the_last_unit_of_a_budget_goes_to_one_of_two_who_reach_for_it_at_once(
    database: Database, windows: tuple[timedelta, timedelta]
) -> None:
    await file(database, alert("f1"), alert("f2"), opens=lambda a: opening(a.fingerprint))
    budgets = [Budget("cluster", at_most=1, within=within) for within in windows]
    first, second = [
        Decided(i, replace(ON, intent=intent_of(i, budget)))
        for i, budget in zip(await claim(database), budgets, strict=True)
    ]

    async with database.transaction() as tx:
        await moves.commit(tx, [first], lease=LEASE)
        reaching = asyncio.create_task(commit(database, second.incident, second.move))
        await until_they_wait(tx, reaching)
        assert not reaching.done()

    with pytest.raises(BudgetSpent):
        await reaching


@pytest.mark.parametrize("windows", [(HOUR, DAY), (DAY, HOUR)], ids=["longer", "shorter"])
async def test_a_window_that_was_edited_forgets_nothing_that_was_spent_in_it(
    database: Database, windows: tuple[timedelta, timedelta]
) -> None:
    await file(database, alert("f1"), alert("f2"), opens=lambda a: opening(a.fingerprint))
    before, after = (Budget("attempts/backend", at_most=1, within=within) for within in windows)
    first, second = await claim(database)
    await commit(database, first, replace(ON, intent=intent_of(first, before)))

    with pytest.raises(BudgetSpent):
        await commit(database, second, replace(ON, intent=intent_of(second, after)))


async def test_the_release_before_and_this_one_count_what_the_other_spent(database: Database) -> None:
    """It looks for the key with the window, as it writes it, and locks the row of that."""
    await file(database, alert("f1"), alert("f2"), opens=lambda a: opening(a.fingerprint))
    twice = Budget("attempts/backend", at_most=2, within=HOUR)
    first, second = await claim(database)
    intent = intent_of(first, twice)
    await commit(database, first, replace(ON, intent=intent))
    async with database.transaction() as tx:
        found = await tx.fetchval("SELECT count(*) FROM reservations WHERE key = 'attempts/backend/1h'")
        locked = await tx.fetchval("SELECT count(*) FROM budgets WHERE key = 'attempts/backend/1h'")
        other = await tx.fetchval(
            """INSERT INTO intents (id, incident_id, path, plan, timeout, epoch)
               SELECT gen_random_uuid(), incident_id, path, plan, timeout, epoch FROM intents RETURNING id"""
        )
        await tx.execute(
            "INSERT INTO reservations (key, intent_id, units) VALUES ('attempts/backend/1h', $1, 1)", other
        )

    assert (found, locked) == (1, 1)
    with pytest.raises(BudgetSpent):
        await commit(database, second, replace(ON, intent=intent_of(second, twice)))


async def test_what_is_spent_from_two_windows_of_a_budget_is_spent_once(database: Database) -> None:
    incident = await claimed(database)
    budgets = [Budget("cluster", at_most=9, within=within, units=3) for within in (HOUR, DAY)]
    await commit(database, incident, replace(ON, intent=intent_of(incident, *budgets)))

    async with database.connection() as connection:
        spent = (await ledger.snapshot(connection, budgets)).reservations

    assert [(each.key, each.units) for each in spent] == [("cluster", 3)]


async def test_two_who_count_each_other_do_not_both_get_the_last_unit(database: Database) -> None:
    await file(database, alert("f1"), alert("f2"), opens=lambda a: opening(a.fingerprint))
    budgets = [Budget(key, at_most=1, within=HOUR, beside=(other,)) for key, other in (("a", "b"), ("b", "a"))]
    first, second = [
        Decided(i, replace(ON, intent=intent_of(i, budget)))
        for i, budget in zip(await claim(database), budgets, strict=True)
    ]

    async with database.transaction() as tx:
        await moves.commit(tx, [first], lease=LEASE)
        reaching = asyncio.create_task(commit(database, second.incident, second.move))
        await until_they_wait(tx, reaching)
        assert not reaching.done()

    with pytest.raises(BudgetSpent):
        await reaching


async def test_budgets_that_book_under_one_key_book_once(database: Database) -> None:
    incident = await claimed(database)
    budgets = [Budget("keys", at_most=9, within=HOUR, units=3, beside=beside) for beside in ((), ("pods",))]
    await commit(database, incident, replace(ON, intent=intent_of(incident, *budgets)))

    async with database.connection() as connection:
        rows = await connection.fetch("SELECT key, units FROM reservations")

    assert [tuple(row) for row in rows] == [("keys/1h", 3)]


async def test_a_budget_is_no_part_of_one_that_begins_alike(database: Database) -> None:
    incident = await claimed(database)
    budgets = [Budget(key, at_most=9, within=HOUR) for key in ("node/a", "node/ab", "node/a/b", "node")]
    await commit(database, incident, replace(ON, intent=intent_of(incident, *budgets)))

    async with database.connection() as connection:
        spent = (await ledger.snapshot(connection, [b for b in budgets if b.key in ("node/a", "node")])).reservations

    assert sorted(each.key for each in spent) == ["node", "node/a"]


async def test_the_first_result_of_an_intent_counts(database: Database) -> None:
    incident = await claimed(database)
    intent = intent_of(incident)
    moved = await commit(database, incident, replace(ON, intent=intent))
    await commit(database, moved, replace(ON, result=IntentResult(intent.id, IntentState.DONE, "done")))

    async with database.transaction() as tx:
        await intents.finish(tx, [IntentResult(intent.id, IntentState.FAILED, "late")])
        [stored] = await intents.get_many(tx, [intent.id])

    assert (stored.state, stored.detail, stored.intent.plan) == (IntentState.DONE, "done", PLAN)


async def test_no_write_begins_while_its_alert_is_suppressed_at_the_source(database: Database) -> None:
    incident = await claimed(database)
    await file(database, alert("f2"))
    move = replace(ON, intent=intent_of(incident))
    async with database.transaction() as tx:
        await tx.execute("UPDATE episodes SET suppressed_by = 'silence s-1' WHERE fingerprint = 'f1'")

    with pytest.raises(NotAllowed, match="suppressed at its source: silence s-1"):
        await commit(database, incident, move)
    async with database.transaction() as tx:
        await tx.execute("UPDATE episodes SET suppressed_by = ''")
    await commit(database, incident, move)


async def test_no_write_begins_for_an_alert_that_has_ended_while_another_of_its_incident_fires(
    database: Database,
) -> None:
    incident = await claimed(database)
    await file(database, alert("f2"), resolved("f1"))

    with pytest.raises(NotAllowed, match="the alert no longer fires"):
        await commit(database, incident, replace(ON, intent=intent_of(incident)))


@pytest.mark.parametrize(
    ("argument", "is_begun"),
    [
        pytest.param(r"--allow=[^\u0000-\u007F]", True, id="a regular expression: it is written as it was rehearsed"),
        pytest.param("--separator=\x00", False, id="a NUL: what the journal gives back is another write"),
    ],
)
async def test_what_the_journal_gives_back_is_what_was_rehearsed(
    database: Database, argument: str, *, is_begun: bool
) -> None:
    await file(database, alert())
    incident = await claimed(database)
    plan = changed(PLAN, pre_image={"args": [argument]})
    intent = intent_of(incident, plan=plan)
    move = Move(Phase.CLEARED, replace(incident.progress, step=0, intent=intent.id), intent=intent)

    with nullcontext() if is_begun else pytest.raises(NotAllowed, match="no journal can"):
        await commit(database, incident, move)
    async with database.connection() as connection:
        begun = [stored.intent.plan for stored in await intents.of_incident(connection, incident.id)]

    assert begun == ([plan] if is_begun else [])
