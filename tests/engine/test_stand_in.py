"""Which of an incident's alerts its fixes are for."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from remediator.domain.alert import Alert
from remediator.domain.incident import Approval, Attempt, AttemptResult, Incident, Phase, Progress
from remediator.domain.mode import Mode
from remediator.engine.desk import Desk
from remediator.engine.journal import Journal
from remediator.engine.pipeline import next_move
from remediator.store import incidents, moves
from remediator.store.database import Database
from remediator.store.moves import Decided
from tests.engine.working import NOBODY, always
from tests.store.facts import LEASE, alert, file, resolved

NO_LOOKS: Any = type("NoLooks", (), {"diagnose": {}, "fix": ()})
EARLIER = datetime.now(UTC) - timedelta(minutes=5)
FIRST, SECOND, THIRD = alert("f1"), alert("f2"), alert("f3", starts_at=EARLIER)


def desk_of(database: Database) -> Desk:
    journal = Journal(database, NOBODY, Mode.ACT)
    return Desk(
        tools=NOBODY,
        clock=lambda: datetime.now(UTC),
        read_rule=always(NO_LOOKS),
        read_ledger=journal.ledger,
        read_intent=journal.intent,
        read_stand_in=journal.stand_in,
        global_guards=lambda: (),
        recheck=timedelta(seconds=15),
    )


async def claim(database: Database) -> Incident:
    async with database.transaction() as tx:
        await tx.execute("UPDATE incidents SET wake_at = now(), lease_until = NULL")
        [incident] = await incidents.claim(tx, owner="tests", lease=LEASE, limit=10)
    return incident


async def move_on(database: Database, incident: Incident) -> Incident:
    move = await next_move(incident, desk_of(database))
    async with database.transaction() as tx:
        [after] = await moves.commit(tx, [Decided(incident, move)], lease=LEASE)
    assert isinstance(after, Incident)
    return after


async def silence(database: Database, *alerts: Alert) -> None:
    async with database.transaction() as tx:
        await tx.execute(
            "UPDATE episodes SET suppressed_by = 'silence s-1' WHERE fingerprint = ANY($1)",
            [told.fingerprint for told in alerts],
        )


@pytest.mark.parametrize("phase", [Phase.OPENED, Phase.DIAGNOSED, Phase.PROPOSED])
async def test_the_alert_that_fires_longest_takes_the_place_of_one_that_has_ended(
    database: Database, phase: Phase
) -> None:
    await file(database, FIRST)
    await file(database, SECOND, THIRD)
    await file(database, resolved("f1"))

    after = await move_on(database, replace(await claim(database), phase=phase))

    assert (after.phase, after.alert_fires) == (Phase.OPENED, True)
    assert (after.alert.fingerprint, after.alert.labels, after.alert.starts_at) == ("f3", THIRD.labels, EARLIER)
    assert (await claim(database)).alert == after.alert


async def test_one_that_is_silenced_is_not_acted_on_while_another_is_not(database: Database) -> None:
    await file(database, FIRST, SECOND)
    await silence(database, FIRST)

    after = await move_on(database, await claim(database))

    assert after.alert.fingerprint == "f2"


@pytest.mark.parametrize("silenced", [(), (FIRST, SECOND)], ids=["it fires itself", "all of them are silenced"])
async def test_it_stays_where_no_other_is_better(database: Database, silenced: tuple[Alert, ...]) -> None:
    await file(database, FIRST, SECOND)
    await silence(database, *silenced)

    after = await move_on(database, await claim(database))

    assert (after.phase, after.alert.fingerprint) == (Phase.DIAGNOSED, "f1")


async def test_what_was_approved_or_passed_over_for_the_one_is_not_so_for_the_other(database: Database) -> None:
    await file(database, FIRST, SECOND)
    await file(database, resolved("f1"))
    done = Attempt(0, AttemptResult.INEFFECTIVE)
    progress = Progress(
        attempts=(done, Attempt(1, AttemptResult.PASSED_OVER)), approval=Approval("d", "alice", datetime.now(UTC))
    )

    after = await move_on(database, replace(await claim(database), progress=progress))

    assert (after.progress.approval, after.progress.attempts) == (None, (done,))
