"""What waits, for a budget or for a person's yes, waits until its time is over, whatever joins or ends meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from remediator.domain.alert import Alert, AlertStatus
from remediator.domain.ids import IncidentId, IntentId
from remediator.domain.incident import (
    Approval,
    AttemptResult,
    Incident,
    Move,
    PageOrder,
    PendingUndo,
    Phase,
    Progress,
)
from remediator.domain.mode import Mode
from remediator.domain.timeline import Entry, EntryKind
from remediator.engine import guard
from remediator.engine.desk import APPROVAL_LIFE, MOST_HOLDS, Desk
from remediator.engine.journal import Journal
from remediator.engine.pipeline import next_move
from remediator.rules.loader import load_rules
from remediator.rules.rulebook import Rulebook
from remediator.store import incidents, moves, timeline
from remediator.store.database import Database
from remediator.store.documents import progress_from, progress_json
from remediator.store.moves import Decided
from remediator.toolbox import Toolbox
from tests.engine.test_undo import looking
from tests.fakes.kubernetes import FakeCluster
from tests.store.facts import LEASE, alert, claimed, count, file
from tests.system.rules import rule_with, write_rules

__all__ = ["looking"]

COOLDOWN = timedelta(minutes=15)
JUDGED = Entry(EntryKind.GUARD, "hold: it was changed less than 15m ago", "guard.cooldown")
NOBODY: Any = None


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(clock: Clock) -> Desk:
    return Desk(NOBODY, clock, NOBODY, NOBODY, NOBODY, NOBODY, lambda: (), timedelta(seconds=15))


def held(incident: Incident, desk: Desk, *, wait: timedelta) -> Move:
    return guard.hold(incident, desk, "it was changed less than 15m ago", wait=wait, entries=(JUDGED,))


def after(incident: Incident, move: Move) -> Incident:
    """As whoever claims it next reads it."""
    return replace(incident, phase=move.phase, progress=progress_from(progress_json(move.kept)))


async def test_alerts_that_join_while_it_waits_use_up_no_hold(database: Database, desk: Desk, clock: Clock) -> None:
    """Each of them wakes it, to be judged again."""
    incident = await claimed(database)
    first = held(incident, desk, wait=COOLDOWN)
    incident = after(incident, first)

    for seconds in range(1, MOST_HOLDS + 10):
        clock.now += timedelta(seconds=1)
        again = held(incident, desk, wait=COOLDOWN - timedelta(seconds=seconds))
        incident = after(incident, again)

    assert (first.progress.holds, first.pages, len(first.entries)) == (1, PageOrder.NOW, 2)
    assert (again.phase, again.progress.holds, again.entries) == (Phase.OPENED, 1, ())
    assert again.wake_in == COOLDOWN - timedelta(seconds=seconds)
    assert incident.progress.last_word == "held for 15m: it was changed less than 15m ago"


async def test_a_hold_whose_time_was_over_counts_and_is_told(database: Database, desk: Desk, clock: Clock) -> None:
    incident = await claimed(database)

    for _ in range(MOST_HOLDS):
        move = held(incident, desk, wait=COOLDOWN)
        incident = after(incident, move)
        clock.now += COOLDOWN
    last = held(incident, desk, wait=COOLDOWN)

    assert (move.phase, move.progress.holds, len(move.entries)) == (Phase.OPENED, MOST_HOLDS, 2)
    assert (last.phase, last.pages) == (Phase.HANDED_OVER, PageOrder.NOW)


async def test_what_may_be_looked_at_sooner_than_was_thought_is(database: Database, desk: Desk) -> None:
    incident = await claimed(database)
    incident = after(incident, held(incident, desk, wait=COOLDOWN))

    assert held(incident, desk, wait=timedelta(seconds=30)).wake_in == timedelta(seconds=30)


@pytest.mark.parametrize(
    "goes_on",
    [
        lambda progress: progress.attempted(AttemptResult.FAILED, "refused"),
        lambda progress: replace(progress, held_until=None),
    ],
    ids=["another step was tried", "written by the release before"],
)
async def test_a_hold_of_something_else_counts_at_once(
    database: Database, desk: Desk, goes_on: Callable[[Progress], Progress]
) -> None:
    incident = await claimed(database)
    incident = after(incident, held(incident, desk, wait=COOLDOWN))

    move = held(replace(incident, progress=goes_on(incident.progress)), desk, wait=COOLDOWN)

    assert (move.progress.holds, len(move.entries)) == (2, 2)


SUGGESTED = rule_with("{ use: scale, by: 1 }")


def down(fingerprint: str, *, status: AlertStatus = AlertStatus.FIRING) -> Alert:
    labels = {"alertname": "ServiceDown", "namespace": "prod", "deployment": "backend"}
    over = datetime.now(UTC) if status is AlertStatus.RESOLVED else None
    return alert(fingerprint, status=status, labels=labels, ends_at=over)


@dataclass
class Suggesting:
    """Rules, a cluster and a person in `suggest` mode; time is what the clock says."""

    database: Database
    rulebook: Rulebook
    desk: Desk

    async def tell(self, *alerts: Alert) -> None:
        await file(self.database, *alerts, opens=lambda told: self.rulebook.opening(told, ceiling=Mode.SUGGEST))

    async def claim(self) -> Incident:
        async with self.database.transaction() as tx:
            await tx.execute("UPDATE incidents SET wake_at = now()")
            [incident] = await incidents.claim(tx, owner="tests", lease=LEASE, limit=10)
        return incident

    async def go_on(self) -> Incident:
        """As the worker does: move after move while there is something to do at once."""
        async with self.database.transaction() as tx:
            [incident] = await incidents.claim(tx, owner="tests", lease=LEASE, limit=10)
        while True:
            move = await next_move(incident, self.desk)
            async with self.database.transaction() as tx:
                [after] = await moves.commit(tx, [Decided(incident, move)], lease=LEASE)
            assert isinstance(after, Incident)
            incident = after
            if not move.goes_on:
                return incident


@pytest.fixture
async def suggesting(database: Database, desk: Desk, looking: Toolbox, tmp_path: Path) -> Suggesting:
    rulebook = load_rules(write_rules(tmp_path / "rules", **{"service-down": SUGGESTED})).rulebook
    journal = Journal(database, lambda: rulebook, Mode.SUGGEST)
    able = changed(
        desk,
        tools=looking,
        read_rule=journal.rule,
        read_ledger=journal.ledger,
        global_guards=lambda: rulebook.guards,
    )
    return Suggesting(database, rulebook, able)


async def wake(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.execute("UPDATE incidents SET wake_at = now()")


@pytest.mark.parametrize(
    ("whose", "status"),
    [("f2", AlertStatus.RESOLVED), ("f3", AlertStatus.FIRING)],
    ids=["one of its alerts ends", "another one joins"],
)
async def test_a_plan_can_be_approved_for_its_ten_minutes_whatever_happens(
    suggesting: Suggesting, clock: Clock, whose: str, status: AlertStatus
) -> None:
    await suggesting.tell(down("f1"), down("f2"))
    before = await suggesting.go_on()
    told = await count(suggesting.database, "timeline")
    clock.now += APPROVAL_LIFE / 2
    await suggesting.tell(down(whose, status=status))

    await wake(suggesting.database)
    after = await suggesting.go_on()

    assert (before.phase, after.phase) == (Phase.PROPOSED, Phase.PROPOSED)
    assert await count(suggesting.database, "timeline") == told + 1, "the alert's own"
    async with suggesting.database.transaction() as tx:
        assert before.progress.plan is not None
        await incidents.approve(tx, after.id, digest=before.progress.plan.digest, by="alice")
        assert await tx.fetchval("SELECT wake_at <= now() FROM incidents")


async def test_a_plan_that_nobody_approved_in_time_is_looked_at_afresh(suggesting: Suggesting, clock: Clock) -> None:
    await suggesting.tell(down("f1"))
    await suggesting.go_on()
    clock.now += APPROVAL_LIFE

    await wake(suggesting.database)
    await suggesting.go_on()

    async with suggesting.database.connection() as connection:
        entries = await timeline.of_incident(connection, IncidentId(1))
    assert [entry.message for entry in entries if entry.message.startswith("not approved")] == [
        "not approved within 10m: diagnosing afresh"
    ]


def leased(incident: Incident, clock: Clock, *, due_in: timedelta) -> Incident:
    """With a fix that is to be taken back so soon."""
    owed = PendingUndo(IntentId(str(uuid4())), clock.now + due_in)
    return replace(incident, progress=replace(incident.progress, undo=owed))


@pytest.mark.parametrize(
    ("due_in", "wakes_in"),
    [(COOLDOWN / 3, COOLDOWN / 3), (2 * COOLDOWN, COOLDOWN)],
    ids=["the undo is due before", "the undo is due after"],
)
async def test_what_is_held_wakes_in_time_for_its_undo(
    database: Database, desk: Desk, clock: Clock, due_in: timedelta, wakes_in: timedelta
) -> None:
    incident = leased(await claimed(database), clock, due_in=due_in)

    first = held(incident, desk, wait=COOLDOWN)
    clock.now += timedelta(minutes=1)
    woken_before = held(after(incident, first), desk, wait=COOLDOWN)

    assert (first.wake_in, woken_before.wake_in) == (wakes_in, wakes_in - timedelta(minutes=1))
    assert first.progress.held_until == clock.now - timedelta(minutes=1) + COOLDOWN


async def test_what_waits_for_approval_wakes_in_time_for_its_undo(suggesting: Suggesting, clock: Clock) -> None:
    await suggesting.tell(down("f1"))
    await suggesting.go_on()
    incident = await suggesting.claim()
    due_in = APPROVAL_LIFE / 2

    waiting = await next_move(leased(incident, clock, due_in=due_in), suggesting.desk)
    afresh = replace(incident, phase=Phase.DIAGNOSED, progress=Progress(diagnosed_at=clock.now))
    proposed = await next_move(leased(afresh, clock, due_in=due_in), suggesting.desk)

    assert (waiting.phase, waiting.wake_in) == (Phase.PROPOSED, due_in)
    assert (proposed.phase, proposed.wake_in) == (Phase.PROPOSED, due_in)


@pytest.mark.parametrize(
    ("age", "phase"),
    [
        (timedelta(), Phase.PROPOSED),
        (guard.FACTS_LIFE, Phase.PROPOSED),
        (guard.FACTS_LIFE + timedelta(seconds=1), Phase.OPENED),
        (timedelta(hours=3), Phase.OPENED),
        (None, Phase.OPENED),
    ],
    ids=["just found", "as old as may be", "too old", "after a night without a daemon", "nobody knows how old"],
)
async def test_no_fix_is_chosen_on_old_facts(
    suggesting: Suggesting, clock: Clock, age: timedelta | None, phase: Phase
) -> None:
    """The pods that failed hours ago may be healthy, and one of them would be deleted."""
    await suggesting.tell(down("f1"))
    incident = await suggesting.claim()
    found = Progress(diagnosed_at=clock.now - age if age is not None else None)

    move = await next_move(replace(incident, phase=Phase.DIAGNOSED, progress=found), suggesting.desk)

    told = [entry.message for entry in move.entries]
    assert move.phase is phase
    assert ("the facts are older than 2m: looking again before anything is done" in told) is (phase is Phase.OPENED)
    assert move.wake_in == (timedelta() if phase is Phase.OPENED else APPROVAL_LIFE)


async def test_old_facts_are_replaced_by_fresh_ones_and_it_goes_on(suggesting: Suggesting, clock: Clock) -> None:
    await suggesting.tell(down("f1"))
    async with suggesting.database.transaction() as tx:
        stopped = Progress(diagnosed_at=clock.now - timedelta(hours=3))
        await tx.execute("UPDATE incidents SET phase = 'diagnosed', progress = $1", stopped)

    incident = await suggesting.go_on()

    assert (incident.phase, incident.progress.diagnosed_at) == (Phase.PROPOSED, clock.now)


@pytest.mark.parametrize(
    ("age", "phase"),
    [
        (timedelta(), Phase.CLEARED),
        (APPROVAL_LIFE, Phase.CLEARED),
        (APPROVAL_LIFE + timedelta(seconds=1), Phase.PROPOSED),
        (timedelta(hours=8), Phase.PROPOSED),
    ],
    ids=["just given", "as old as may be", "too old", "after a night without a daemon"],
)
async def test_an_approval_counts_for_ten_minutes(
    suggesting: Suggesting, clock: Clock, age: timedelta, phase: Phase
) -> None:
    """Whoever said yes to a plan in the evening did not say it for the morning."""
    await suggesting.tell(down("f1"))
    proposed = await suggesting.go_on()
    assert proposed.progress.plan is not None
    approval = Approval(proposed.progress.plan.digest, "alice", clock.now - age)
    approved = replace(proposed, phase=Phase.DIAGNOSED, progress=Progress(diagnosed_at=clock.now, approval=approval))

    move = await next_move(approved, suggesting.desk)

    told = [entry.message for entry in move.entries]
    assert move.phase is phase
    assert ("the approval by alice is older than 10m and no longer counts" in told) is (phase is Phase.PROPOSED)
    assert (move.progress.approval is None) is (phase is Phase.PROPOSED)


async def test_an_approval_that_is_for_another_plan_by_now_is_told(suggesting: Suggesting, clock: Clock) -> None:
    """Whoever gave it thinks that the fix was made, and a page later is asked for the same again."""
    await suggesting.tell(down("f1"))
    proposed = await suggesting.go_on()
    assert proposed.progress.plan is not None
    approval = Approval("0" * 16, "alice", clock.now)
    approved = replace(proposed, phase=Phase.DIAGNOSED, progress=Progress(diagnosed_at=clock.now, approval=approval))

    move = await next_move(approved, suggesting.desk)

    digest = proposed.progress.plan.digest
    told = f"the plan {'0' * 16} that alice approved is now {digest}: that yes is not for it"
    assert (move.phase, told in [entry.message for entry in move.entries]) == (Phase.PROPOSED, True)


async def test_an_approval_that_a_hold_takes_away_is_told(database: Database, desk: Desk, clock: Clock) -> None:
    approval = Approval("0" * 16, "alice", clock.now)
    incident = replace(await claimed(database), progress=Progress(approval=approval))

    move = held(incident, desk, wait=COOLDOWN)

    assert move.progress.approval is None
    assert [entry.message for entry in move.entries[1:]] == [
        "the approval by alice no longer counts: the plan is made anew after the wait",
        "held for 15m: it was changed less than 15m ago",
    ]


async def test_an_approval_of_a_step_that_has_nothing_to_do_any_more_is_told(
    suggesting: Suggesting, clock: Clock, fake_cluster: FakeCluster
) -> None:
    await suggesting.tell(down("f1"))
    proposed = await suggesting.go_on()
    approval = Approval("0" * 16, "alice", clock.now)
    approved = replace(proposed, phase=Phase.DIAGNOSED, progress=Progress(diagnosed_at=clock.now, approval=approval))
    fake_cluster.create("prod", autoscaler("backend"))

    move = await next_move(approved, suggesting.desk)

    assert move.progress.approval is None
    assert move.entries[-1].message == "the approval by alice no longer counts: this step is passed over"


def autoscaler(name: str) -> Any:
    spec = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}, "maxReplicas": 9}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": spec,
    }
