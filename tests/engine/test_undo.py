"""A leased fix is taken back, whatever else happens to its incident; and nobody goes round in circles over it."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace as changed
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from msgspec.structs import replace

from remediator.actions.scale import Scale
from remediator.clients.kubernetes import connect_kubernetes
from remediator.domain.ids import IntentId
from remediator.domain.incident import (
    Approval,
    Attempt,
    AttemptResult,
    Incident,
    Intent,
    IntentResult,
    IntentState,
    JournalledIntent,
    Move,
    PageOrder,
    PendingUndo,
    Phase,
    Progress,
)
from remediator.domain.mode import Mode
from remediator.domain.plan import NoPlan, Plan
from remediator.domain.target import Target
from remediator.engine import undo, worker
from remediator.engine.desk import Desk
from remediator.engine.late_results import CAME_LATE
from remediator.engine.pipeline import UNDO_FIRST, next_move
from remediator.rules.loader import load_rules
from remediator.store import escalations, incidents, moves, outbox, timeline
from remediator.store.database import Database
from remediator.toolbox import Toolbox
from tests.cluster.eventually import eventually
from tests.engine.working import NOBODY, NOT_REACHED, always, at_work, is_resolved, tells
from tests.fakes.kubernetes import FakeCluster
from tests.store.facts import LEASE, alert, claimed, count, file, resolved
from tests.system.rules import rule_with, write_rules

BACKEND = Target("deployment", "backend", "prod")
SCALED = Plan(
    "scale",
    BACKEND,
    "scale deployment backend from 3 to 5 replicas",
    (),
    "",
    pre_image={"replicas": 3, "uid": "u"},
    post_image={"replicas": 5},
    undo_after=timedelta(minutes=45),
    parameters=Scale(by=2, undo_after="45m").model_dump(mode="json", exclude_unset=True),
)
LATER = changed(SCALED, action="of_a_later_release")


def new_id() -> IntentId:
    return IntentId(str(uuid4()))


def desk_for(journalled: Intent, state: IntentState, *, writers: Any = NOBODY) -> Desk:
    async def read(_: IntentId) -> JournalledIntent:
        return JournalledIntent(journalled, 1, state, "kubernetes: PATCH: 503")

    return Desk(
        tools=NOBODY,
        clock=lambda: datetime.now(UTC),
        read_rule=NOBODY,
        read_ledger=NOBODY,
        read_intent=read,
        read_stand_in=NOBODY,
        global_guards=lambda: (),
        recheck=timedelta(seconds=15),
        writers=writers,
    )


def overdue(incident: Incident, fix: IntentId, *, phase: Phase = Phase.HANDED_OVER, tries: int = 0) -> Incident:
    undo = PendingUndo(fix, datetime.now(UTC) - timedelta(minutes=1), tries)
    return replace(incident, phase=phase, progress=Progress(undo=undo))


@pytest.mark.parametrize(
    ("state", "tries", "again", "pages"),
    [
        pytest.param(IntentState.DONE, 0, None, PageOrder.KEEP, id="done"),
        pytest.param(IntentState.FAILED, 0, timedelta(seconds=30), PageOrder.NOW, id="failed: in half a minute"),
        pytest.param(IntentState.FAILED, 3, timedelta(minutes=4), PageOrder.NOW, id="failed again: later"),
        pytest.param(IntentState.FAILED, undo.MOST_TRIES, None, PageOrder.NOW, id="failed too often: a person"),
        pytest.param(IntentState.UNKNOWN, 0, None, PageOrder.NOW, id="not repeated where nobody knows"),
    ],
)
async def test_an_undo_that_failed_is_tried_again_later_and_people_are_told(
    database: Database, state: IntentState, tries: int, again: timedelta | None, pages: PageOrder
) -> None:
    incident = overdue(await claimed(database), new_id(), phase=Phase.UNDOING, tries=tries)
    inverse = Intent(new_id(), incident.id, "fix[0].undo", SCALED, undoes=new_id())
    incident = replace(incident, progress=replace(incident.progress, intent=inverse.id))

    move = await next_move(incident, desk_for(inverse, state))

    left = move.progress.undo
    assert move.pages is pages
    assert (left is None) is (again is None)
    if left is not None and again is not None:
        assert left.tries == tries + 1
        assert abs(left.at - datetime.now(UTC) - again) < timedelta(seconds=5)


@pytest.mark.parametrize("mode", [Mode.ACT, Mode.SUGGEST], ids=["by itself", "approved by a person"])
async def test_what_was_scaled_for_a_while_is_scaled_back(database: Database, mode: Mode) -> None:
    incident = await claimed(database)
    fix = Intent(new_id(), incident.id, "fix[0]", SCALED)

    move = await next_move(
        replace(overdue(incident, fix.id), mode=mode), desk_for(fix, IntentState.DONE, writers=NOT_REACHED)
    )

    assert move.phase is Phase.UNDOING


async def test_a_daemon_that_may_only_look_leaves_the_undo_to_another_and_says_so_once(database: Database) -> None:
    incident = await claimed(database)
    fix = Intent(new_id(), incident.id, "fix[0]", SCALED)
    desk = desk_for(fix, IntentState.DONE)

    move = await next_move(overdue(incident, fix.id), desk)
    again = await next_move(replace(incident, phase=move.phase, progress=move.progress), desk)

    assert (move.progress.undo is not None, move.wake_in) == (True, undo.UNTIL_SOMEBODY_CAN)
    assert (len(move.entries), again.entries, again.wake_in) == (1, (), undo.UNTIL_SOMEBODY_CAN)


async def test_a_second_fix_does_not_forget_what_the_first_left_to_be_taken_back(database: Database) -> None:
    incident = await claimed(database)
    flush = Intent(new_id(), incident.id, "fix[1]", changed(SCALED, action="flush_cache", undo_after=None))
    first = PendingUndo(new_id(), datetime.now(UTC) + timedelta(minutes=30))
    progress = Progress(step=1, intent=flush.id, undo=first, attempts=(Attempt(0, AttemptResult.INEFFECTIVE),))

    move = await next_move(replace(incident, phase=Phase.CLEARED, progress=progress), desk_for(flush, IntentState.DONE))

    assert (move.phase, move.progress.undo) == (Phase.FIXED, first)


@pytest.mark.parametrize("phase", [Phase.OPENED, Phase.DIAGNOSED, Phase.PROPOSED])
async def test_a_leased_fix_is_taken_back_whatever_its_incident_waits_for(
    database: Database, written: list[IntentId], phase: Phase
) -> None:
    """Proposed and looked at afresh every ten minutes while its alert fires, it would never come to the undo."""
    incident = await wakes_for_its_undo(database)
    flush = changed(SCALED, action="flush_cache", undo_after=None)
    asked = replace(
        incident.progress,
        step=1,
        plan=flush,
        proposed_at=datetime.now(UTC),
        approval=Approval(flush.digest, "alice", datetime.now(UTC)),
        attempts=(Attempt(0, AttemptResult.INEFFECTIVE),),
    )
    async with database.transaction() as tx:
        await tx.execute("UPDATE incidents SET phase = $1, progress = $2", phase, asked)

    async with at_work(database):
        await eventually(lambda: tells(database, "done: scaled back"), within=10)
        await eventually(lambda: rests(database), within=10)

    async with database.connection() as connection:
        after = await incidents.get(connection, incident.id)
        told = [entry.message for entry in await timeline.of_incident(connection, incident.id)]
    handed_over = f"handed over to people: {UNDO_FIRST}"
    assert len(written) == 1
    assert after.progress == Progress(attempts=asked.attempts, last_word=handed_over)
    assert (after.phase, after.is_open) == (Phase.HANDED_OVER, True)
    assert told[-3:] == [handed_over, "scale deployment/prod/backend from 5 to 3 replicas", "done: scaled back"]


async def rests(database: Database) -> bool:
    return bool(await count(database, "incidents WHERE lease_until IS NULL AND wake_at IS NULL"))


async def test_whoever_has_no_alert_any_more_is_told_before_its_fix_is_taken_back(
    database: Database, written: list[IntentId]
) -> None:
    """Its data is gone, not its cause: a person must look, and nothing else would say so."""
    await wakes_for_its_undo(database)
    async with database.transaction() as tx:
        await tx.execute("UPDATE incidents SET phase = 'proposed'")
        await tx.execute("UPDATE episodes SET closed_at = now(), recovered = false")

    async with at_work(database):
        await eventually(lambda: tells(database, "done: scaled back"), within=10)

    assert len(written) == 1
    assert await tells(database, "a person must look")


@pytest.fixture
async def looking(fake_cluster: FakeCluster, tmp_path: Path) -> AsyncIterator[Toolbox]:
    """At a cluster with a Deployment `backend` in it."""
    fake_cluster.deploy("prod", "backend")
    connection = await connect_kubernetes(fake_cluster.write_kubeconfig(tmp_path / "kubeconfig"), None)
    yield Toolbox(NOBODY, clock=lambda: datetime.now(UTC), kubernetes_reader=connection.reader)
    await connection.close()


async def test_a_second_leased_fix_is_passed_over_while_the_first_is_to_be_taken_back(
    database: Database, looking: Toolbox, tmp_path: Path
) -> None:
    files = {"service-down": rule_with("{ use: scale, by: 1, undo_after: 45m }")}
    [rule] = load_rules(write_rules(tmp_path / "rules", **files)).rulebook.rules
    first = PendingUndo(new_id(), datetime.now(UTC) + timedelta(minutes=30))
    progress = Progress(diagnosed_at=datetime.now(UTC), undo=first)
    incident = replace(await claimed(database), phase=Phase.DIAGNOSED, progress=progress)
    desk = changed(
        desk_for(Intent(new_id(), incident.id, "", SCALED), IntentState.DONE), tools=looking, read_rule=always(rule)
    )

    move = await next_move(incident, desk)

    why = "passed over: another leased fix is still to be taken back"
    assert [entry.message for entry in move.entries] == [why]
    assert move.progress.attempts == (Attempt(0, AttemptResult.PASSED_OVER, why),)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[IntentId]:
    """What was carried out."""
    made: list[IntentId] = []

    async def carry_out(journalled: JournalledIntent, *_: object) -> IntentResult:
        made.append(journalled.intent.id)
        return IntentResult(journalled.intent.id, IntentState.DONE, "scaled back")

    monkeypatch.setattr(undo, "carry_out", carry_out)
    return made


async def wakes_for_its_undo(database: Database, plan: Plan = SCALED, *, tries: int = 0) -> Incident:
    """An incident in people's hands whose leased fix is to be taken back now, after so many tries that failed."""
    incident = await claimed(database)
    fix = new_id()
    async with database.transaction() as tx:
        await tx.execute(
            """INSERT INTO intents (id, incident_id, path, plan, timeout, epoch, state)
               VALUES ($1::text::uuid, $2, 'fix[0]', $3, '15s', 1, 'done')""",
            fix,
            incident.id,
            plan,
        )
        await tx.execute(
            "UPDATE incidents SET phase = 'handed_over', progress = $1, wake_at = now(), lease_until = NULL",
            overdue(incident, fix, tries=tries).progress,
        )
    return overdue(incident, fix, tries=tries)


async def test_an_undo_that_the_journal_refuses_waits_and_is_made_when_it_may(
    database: Database, written: list[IntentId], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "REFUSED_FOR", timedelta(milliseconds=300))
    incident = await wakes_for_its_undo(database)
    async with database.transaction() as tx:
        await incidents.resolve(tx, incident.id, by="alice", note="")
        await tx.execute("UPDATE incidents SET wake_at = now(), lease_until = NULL")
        await tx.execute("UPDATE kill_switch SET is_on = true")

    async with at_work(database):
        await eventually(lambda: moved(database, at_least=incident.epoch + 3), within=10)
        async with database.transaction() as tx:
            await tx.execute("UPDATE kill_switch SET is_on = false")
        await eventually(lambda: so(bool(written)), within=10)

    async with database.connection() as connection:
        told = [entry.message for entry in await timeline.of_incident(connection, incident.id)]
        epoch = await connection.fetchval("SELECT epoch FROM incidents")
    assert len([line for line in told if line.startswith("not taken back yet")]) == 1, "however often it is refused"
    assert epoch < 100, "refused now and then, not round and round"


async def moved(database: Database, *, at_least: int) -> bool:
    """Claimed so often: each claim asks again."""
    async with database.connection() as connection:
        return bool(await connection.fetchval("SELECT epoch >= $1 FROM incidents", at_least))


async def so(is_so: bool) -> bool:
    return is_so


async def test_an_alert_that_ends_while_its_fix_is_taken_back_still_closes_the_incident(
    database: Database, written: list[IntentId], monkeypatch: pytest.MonkeyPatch
) -> None:
    await wakes_for_its_undo(database)
    begin = undo.begin

    async def just_then(incident: Incident, desk: Desk) -> Move:
        move = await begin(incident, desk)
        await file(database, resolved())
        return move

    monkeypatch.setattr(undo, "begin", just_then)

    async with at_work(database):
        await eventually(lambda: is_resolved(database), within=10)

    assert len(written) == 1


async def test_a_worker_that_is_told_to_stop_ends_the_write_it_has_begun(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def carry_out(journalled: JournalledIntent, *_: object) -> IntentResult:
        begun.set()
        await may_end.wait()
        return IntentResult(journalled.intent.id, IntentState.DONE, "scaled back")

    monkeypatch.setattr(undo, "carry_out", carry_out)
    await wakes_for_its_undo(database)

    async with at_work(database):
        await begun.wait()
        asyncio.get_running_loop().call_soon(may_end.set)

    assert await count(database, "intents WHERE undoes IS NOT NULL AND state = 'done'") == 1
    assert await count(database, "incidents WHERE lease_until IS NULL") == 1


async def test_an_undo_that_cannot_be_read_is_told_and_left_for_a_while_to_whoever_can(database: Database) -> None:
    """As beside a later release, which knows the action."""
    incident = await wakes_for_its_undo(database, LATER)

    async with at_work(database):
        await eventually(lambda: tells(database, "of_a_later_release"), within=10)

    async with database.connection() as connection:
        left = owed(await incidents.get(connection, incident.id))
    assert await count(database, "timeline") < 10
    assert (left.intent, left.tries) == (owed(incident).intent, 1)
    assert left.at > datetime.now(UTC)


async def test_an_undo_whose_own_write_may_be_in_the_world_is_not_repeated_where_it_cannot_be_read(
    database: Database,
) -> None:
    incident = await wakes_for_its_undo(database, LATER)
    own = replace(incident.progress, undo=owed(incident), intent=owed(incident).intent)
    async with database.transaction() as tx:
        await tx.execute("UPDATE intents SET state = 'begun', plan = '7'")
        await tx.execute("UPDATE incidents SET phase = 'undoing', progress = $1", own)

    async with at_work(database):
        await eventually(lambda: tells(database, "handed over to people: undoing"), within=10)

    async with database.connection() as connection:
        assert (await incidents.get(connection, incident.id)).progress.undo is None


SAID = "kubernetes: PATCH: 503"


@pytest.mark.parametrize(
    ("state", "tries", "is_left"),
    [
        pytest.param(IntentState.DONE, undo.MOST_TRIES, False, id="taken back in the end"),
        pytest.param(IntentState.FAILED, 0, False, id="to be tried again"),
        pytest.param(IntentState.FAILED, undo.MOST_TRIES, True, id="failed too often"),
        pytest.param(IntentState.UNKNOWN, 0, True, id="nobody knows"),
    ],
)
async def test_a_change_that_is_left_behind_is_told_though_its_incident_is_closed(
    database: Database, monkeypatch: pytest.MonkeyPatch, state: IntentState, tries: int, *, is_left: bool
) -> None:
    async def carry_out(journalled: JournalledIntent, *_: object) -> IntentResult:
        return IntentResult(journalled.intent.id, state, SAID)

    monkeypatch.setattr(undo, "carry_out", carry_out)
    incident = await wakes_for_its_undo(database, tries=tries)
    await close(database, incident)

    async with at_work(database):
        await eventually(lambda: tells(database, SAID), within=10)

    assert await pages(database) == ([left_behind(incident)] if is_left else [])
    assert await is_resolved(database)


async def test_a_change_that_cannot_be_taken_back_is_told_too(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scale, "undo", lambda *_: NoPlan("it is not what the fix left"))
    incident = await wakes_for_its_undo(database)
    await close(database, incident)

    async with at_work(database):
        await eventually(lambda: tells(database, "not taken back: it is not what the fix left"), within=10)

    assert await pages(database) == [left_behind(incident)]


@pytest.mark.parametrize(
    "spoil",
    ["UPDATE escalations SET policy = '{}'", "UPDATE escalations SET severity = '{}'", "DELETE FROM escalations"],
    ids=["policy", "severity", "neither is there"],
)
@pytest.mark.parametrize("mode", [Mode.ACT, Mode.OBSERVE])
async def test_every_channel_hears_of_what_is_left_behind_where_nobody_can_read_whom_to_page(
    database: Database, spoil: str, mode: Mode
) -> None:
    """But for a dry run. The move is made all the same: it was tried again for ever, and nobody was told."""
    incident = await wakes_for_its_undo(database, LATER, tries=undo.MOST_TRIES)
    async with database.transaction() as tx:
        await tx.execute("UPDATE incidents SET mode = $1", mode)
        await tx.execute(spoil)
    await close(database, incident)

    async with at_work(database):
        await eventually(lambda: tells(database, "of_a_later_release"), within=10)

    every = [left_behind(incident, told=f"unreadable:{channel}") for channel in ("console", "email")]
    assert await pages(database) == (every if mode is Mode.ACT else [])


async def test_a_write_that_nobody_can_tell_of_is_told_though_its_incident_is_closed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def carry_out(journalled: JournalledIntent, *_: object) -> IntentResult:
        return IntentResult(journalled.intent.id, IntentState.UNKNOWN, SAID)

    monkeypatch.setattr(undo, "carry_out", carry_out)
    incident = await wakes_for_its_undo(database)
    fix = owed(incident).intent
    async with database.transaction() as tx:
        await tx.execute("UPDATE intents SET state = 'begun'")
        await tx.execute("UPDATE incidents SET progress = $1", Progress(intent=fix))
    await close(database, incident)

    async with at_work(database):
        await eventually(lambda: tells(database, SAID), within=10)

    assert await pages(database) == [left_behind(incident)]


@pytest.mark.parametrize(
    ("by", "told"),
    [
        pytest.param("bob", "bob", id="a person"),
        pytest.param("api-token", "alice", id="a name that reaches nobody"),
        pytest.param("", None, id="nobody: the chain tells"),
    ],
)
async def test_a_write_that_nobody_can_tell_of_is_told_whoever_has_acknowledged_its_incident(
    database: Database, monkeypatch: pytest.MonkeyPatch, by: str, told: str | None
) -> None:
    """In one message, though the severity is urgent, and once, whatever comes then."""
    incident = await wakes_for_a_fix_that_nobody_can_tell_of(database, monkeypatch)
    async with database.transaction() as tx:
        await tx.execute("UPDATE escalations SET severity = severity || '{\"urgent\": true}'")
        if by:
            await incidents.acknowledge(tx, incident.id, by=by)

    async with at_work(database):
        await eventually(lambda: tells(database, SAID), within=10)
    at_once = await pages(database)
    if by:
        await its_acknowledgement_runs_out_and_its_alert_ends(database)

    assert at_once == await pages(database) == ([left_behind(incident, told=told)] if told else [])


async def wakes_for_a_fix_that_nobody_can_tell_of(database: Database, monkeypatch: pytest.MonkeyPatch) -> Incident:
    async def carry_out(journalled: JournalledIntent, *_: object) -> IntentResult:
        return IntentResult(journalled.intent.id, IntentState.UNKNOWN, SAID)

    monkeypatch.setattr("remediator.engine.fix.carry_out", carry_out)
    incident = await wakes_for_its_undo(database)
    async with database.transaction() as tx:
        await tx.execute("UPDATE intents SET state = 'begun'")
        cleared = Progress(step=0, intent=owed(incident).intent)
        await tx.execute("UPDATE incidents SET phase = 'cleared', progress = $1", cleared)
    return incident


@pytest.mark.parametrize(
    ("recorded", "found", "kept"),
    [
        pytest.param(IntentState.FAILED, IntentState.DONE, IntentState.DONE, id="it was not there yet: told"),
        pytest.param(IntentState.FAILED, IntentState.UNKNOWN, IntentState.UNKNOWN, id="it may be there: told"),
        pytest.param(IntentState.UNKNOWN, IntentState.DONE, IntentState.DONE, id="now somebody can tell: told"),
        pytest.param(
            IntentState.UNKNOWN, IntentState.FAILED, IntentState.UNKNOWN, id="whoever could not tell is right"
        ),
        pytest.param(IntentState.DONE, IntentState.FAILED, IntentState.DONE, id="whoever saw it is right"),
        pytest.param(IntentState.DONE, IntentState.DONE, IntentState.DONE, id="nothing new"),
        pytest.param(IntentState.BEGUN, IntentState.DONE, IntentState.DONE, id="nobody has looked yet"),
    ],
)
async def test_a_write_that_a_later_claim_looked_for_in_vain_is_told(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    recorded: IntentState,
    found: IntentState,
    kept: IntentState,
) -> None:
    """A replica froze while its write was on its way; another looked, recorded what it saw, and went on."""

    async def carry_out(journalled: JournalledIntent, *_: object) -> IntentResult:
        async with database.transaction() as tx:
            await tx.execute("UPDATE intents SET state = $1", recorded)
            await tx.execute("UPDATE incidents SET epoch = epoch + 1, phase = 'handed_over', wake_at = NULL")
        return IntentResult(journalled.intent.id, found, SAID)

    incident = await wakes_for_a_fix_that_nobody_can_tell_of(database, monkeypatch)
    monkeypatch.setattr("remediator.engine.fix.carry_out", carry_out)
    is_told = recorded is not IntentState.BEGUN and kept is not recorded

    async with at_work(database):
        await eventually(lambda: is_at_rest(database, kept), within=10)
        if is_told:
            await eventually(lambda: tells(database, SAID), within=10)

    assert await pages(database) == ([left_behind(incident)] if is_told else [])


@pytest.mark.parametrize("stage", ["fix", "undo"])
async def test_what_a_write_did_is_told_once_where_a_person_closes_its_incident_meanwhile(
    database: Database, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Its move is refused, and only the result is kept: whoever comes by next tells it."""
    prepared = wakes_for_a_fix_that_nobody_can_tell_of(database, monkeypatch) if stage == "fix" else None
    incident = await (prepared or wakes_for_its_undo(database))

    async def carry_out(journalled: JournalledIntent, *_: object) -> IntentResult:
        if journalled.state is IntentState.BEGUN:
            await close(database, incident)
        return IntentResult(journalled.intent.id, IntentState.DONE, SAID)

    monkeypatch.setattr(f"remediator.engine.{stage}.carry_out", carry_out)
    monkeypatch.setattr(undo, "carry_out", carry_out)

    async with at_work(database):
        await eventually(lambda: nobody_moves_it(database), within=10)
        before = await count(database, f"timeline WHERE message LIKE '%{SAID}'")
        async with database.transaction() as tx:
            await tx.execute("UPDATE incidents SET lease_until = NULL")
        await eventually(lambda: tells(database, SAID), within=10)

    told = f"timeline WHERE kind = '{stage}' AND message = 'done: {SAID}' AND data ? 'intent'"
    assert (before, await count(database, told)) == (0, 1)


async def nobody_moves_it(database: Database) -> bool:
    return bool(
        await count(database, "incidents WHERE status = 'resolved'")
        and not await count(database, "intents WHERE state = 'begun'")
    )


async def test_what_was_told_before_a_person_closed_the_incident_is_not_told_again(database: Database) -> None:
    """While it is verified its intent stays with it."""
    incident = await claimed(database)
    done = Intent(new_id(), incident.id, "fix[0]", changed(SCALED, undo_after=None))
    progress = Progress(step=0, intent=done.id, fixed_at=datetime.now(UTC))

    move = await next_move(replace(incident, phase=Phase.CLOSED, progress=progress), desk_for(done, IntentState.DONE))

    assert (move.entries, move.progress.intent) == ((), None)


@pytest.mark.parametrize(
    ("known", "seen", "kept", "told"),
    [
        pytest.param(IntentState.DONE, IntentState.FAILED, IntentState.DONE, True, id="it was done"),
        pytest.param(IntentState.DONE, IntentState.UNKNOWN, IntentState.DONE, True, id="somebody could tell"),
        pytest.param(IntentState.UNKNOWN, IntentState.FAILED, IntentState.UNKNOWN, True, id="nobody can tell"),
        pytest.param(IntentState.FAILED, IntentState.DONE, IntentState.DONE, False, id="it is there all the same"),
        pytest.param(IntentState.FAILED, IntentState.UNKNOWN, IntentState.UNKNOWN, False, id="it may be there"),
        pytest.param(IntentState.FAILED, IntentState.FAILED, IntentState.FAILED, False, id="nothing else"),
    ],
)
async def test_a_result_that_is_recorded_while_another_looks_for_the_write_is_told_where_it_is_more(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    known: IntentState,
    seen: IntentState,
    kept: IntentState,
    *,
    told: bool,
) -> None:
    """By a replica that wakes just then. Whoever looked goes on by what it saw, and takes nothing back."""

    async def carry_out(journalled: JournalledIntent, *_: object) -> IntentResult:
        async with database.transaction() as tx:
            await tx.execute("UPDATE intents SET state = $1, detail = 'by whoever wrote it'", known)
        return IntentResult(journalled.intent.id, seen, SAID)

    incident = await wakes_for_a_fix_that_nobody_can_tell_of(database, monkeypatch)
    monkeypatch.setattr("remediator.engine.fix.carry_out", carry_out)

    async with at_work(database):
        await eventually(lambda: tells(database, SAID), within=10)

    late = f"timeline WHERE kind = 'fix' AND message = '{CAME_LATE}: {known}: by whoever wrote it'"
    assert await count(database, f"intents WHERE state = '{kept}'") == 1
    assert await count(database, late) == told
    assert await pages(database) == ([left_behind(incident)] if told else [])


async def is_at_rest(database: Database, state: IntentState) -> bool:
    async with database.connection() as connection:
        return bool(
            await connection.fetchval(
                "SELECT i.phase = 'handed_over' AND n.state = $1 FROM incidents i, intents n", state
            )
        )


@pytest.mark.parametrize("is_journalled", [True, False], ids=["a bug after the write", "an intent that is not there"])
async def test_a_stage_that_stumbles_over_its_write_hands_it_to_people(
    database: Database, monkeypatch: pytest.MonkeyPatch, *, is_journalled: bool
) -> None:
    """Begun for ever, nobody would look for it."""

    async def carry_out(*_: object) -> IntentResult:
        raise OverflowError("date value out of range")

    await wakes_for_a_fix_that_nobody_can_tell_of(database, monkeypatch)
    monkeypatch.setattr("remediator.engine.fix.carry_out", carry_out)
    if not is_journalled:
        async with database.transaction() as tx:
            await tx.execute("DELETE FROM reservations")
            await tx.execute("DELETE FROM intents")

    async with at_work(database):
        await eventually(lambda: tells(database, "handed over to people"), within=10)

    assert await count(database, "intents WHERE state = 'unknown'") == int(is_journalled)
    assert await count(database, "incidents WHERE progress ->> 'unsure_of' IS NOT NULL") == 1


async def its_acknowledgement_runs_out_and_its_alert_ends(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.execute("UPDATE escalations SET due_at = now()")
        await escalations.claim_due(tx, limit=10)
    await file(database, resolved())
    async with at_work(database):
        await eventually(lambda: tells(database, "stopped firing"), within=10)


async def test_what_is_left_behind_is_told_whatever_happens_to_the_incident(database: Database) -> None:
    """An open one, here: its own pages end with it, this one does not."""
    incident = await wakes_for_its_undo(database, LATER, tries=undo.MOST_TRIES)
    async with at_work(database):
        await eventually(lambda: tells(database, "of_a_later_release"), within=10)

    await close(database, incident)

    async with database.connection() as connection:
        [item] = await outbox.claim(connection, lease=LEASE, limit=10)
        assert await outbox.hold(connection, [item]) == {}
    assert item.notification.dedup_key == left_behind(incident)
    assert item.notification.title == "Change left behind: ServiceDown on backend"
    assert item.notification.body.startswith("scale deployment backend from 3 to 5 replicas\nhanded over to people")
    assert item.notification.acknowledge_url == "", "that would be the incident, not this"


async def test_in_observe_mode_nobody_is_woken_for_what_is_left_behind(database: Database) -> None:
    incident = await wakes_for_its_undo(database, LATER, tries=undo.MOST_TRIES)
    async with database.transaction() as tx:
        await tx.execute("UPDATE incidents SET mode = 'observe'")
    await close(database, incident)

    async with at_work(database):
        await eventually(lambda: tells(database, "would page alice"), within=10)

    assert await pages(database) == []


async def close(database: Database, incident: Incident) -> None:
    async with database.transaction() as tx:
        await incidents.resolve(tx, incident.id, by="alice", note="")


async def pages(database: Database) -> list[str]:
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT dedup_key FROM outbox WHERE kind = 'page' AND state = 'queued'")
    return [row["dedup_key"] for row in rows]


def left_behind(incident: Incident, *, told: str = "alice") -> str:
    """The key of the page that tells of it."""
    return f"{incident.id}:left:{owed(incident).intent}:{told}"


def owed(incident: Incident) -> PendingUndo:
    assert incident.progress.undo is not None
    return incident.progress.undo


async def test_a_fix_that_the_journal_refuses_waits_before_it_is_looked_at_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alert was silenced at its source after the guards had allowed the fix."""
    await file(database, alert())
    async with database.transaction() as tx:
        await tx.execute("UPDATE episodes SET suppressed_by = 'silence 1'")

    async def straight_to_the_write(incident: Incident, *_: object) -> Move:
        if incident.phase is Phase.OPENED:
            return Move(Phase.DIAGNOSED, incident.progress)
        intent = Intent(new_id(), incident.id, "fix[0]", SCALED)
        return Move(Phase.CLEARED, replace(incident.progress, step=0, intent=intent.id), intent=intent)

    monkeypatch.setattr(worker, "next_move", straight_to_the_write)

    async with at_work(database):
        await eventually(lambda: waits(database), within=10)

    async with database.connection() as connection:
        assert await connection.fetchval("SELECT progress -> 'holds' FROM incidents") == 1


async def waits(database: Database) -> bool:
    async with database.connection() as connection:
        return bool(
            await connection.fetchval(
                "SELECT lease_until IS NULL AND wake_at > now() + interval '20 seconds' FROM incidents"
            )
        )


async def test_a_move_that_was_a_deadlocks_victim_is_written_again(
    database: Database, written: list[IntentId], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left to its lease it would wait for a minute."""
    await wakes_for_its_undo(database)
    commit, victims = moves.commit, [asyncpg.DeadlockDetectedError("deadlock detected")]

    async def unlucky_once(*one: Any, **how: Any) -> Any:
        if victims:
            raise victims.pop()
        return await commit(*one, **how)

    monkeypatch.setattr(moves, "commit", unlucky_once)

    async with at_work(database):
        await eventually(lambda: so(bool(written)), within=10)


@pytest.mark.parametrize(("by", "is_told"), [("", True), ("alice", False)], ids=["nobody had it", "alice has it"])
async def test_a_write_that_nobody_can_tell_of_is_told_where_the_alert_ends_before_anybody_was(
    database: Database, by: str, *, is_told: bool
) -> None:
    """Its fix may have worked: then the end comes at once, and ends the page that would have told of it."""
    incident = await wakes_for_its_undo(database)
    async with database.transaction() as tx:
        await tx.execute(
            "UPDATE incidents SET phase = 'handed_over', progress = $1, acknowledged_by = $2",
            Progress(unsure_of=owed(incident).intent),
            by,
        )
    await file(database, resolved())

    async with at_work(database):
        await eventually(lambda: tells(database, "stopped firing"), within=10)

    assert await pages(database) == ([left_behind(incident)] if is_told else [])


async def test_a_write_that_nobody_can_tell_of_keeps_no_incident_open_whose_alert_had_ended_before(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever wrote it died, and the alert ended before somebody else looked: it tells of its end once."""
    incident = await wakes_for_a_fix_that_nobody_can_tell_of(database, monkeypatch)
    await file(database, resolved())

    async with at_work(database):
        await eventually(lambda: tells(database, SAID), within=10)
        await eventually(lambda: is_resolved(database), within=10)

    assert await pages(database) == [left_behind(incident)]
