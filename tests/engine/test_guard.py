"""What waits, for a budget or for a person's yes, waits until its time is over, whatever joins or ends meanwhile."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from remediator.domain.incident import AttemptResult, Incident, Move, PageOrder, Phase, Progress
from remediator.domain.timeline import Entry, EntryKind
from remediator.engine import guard
from remediator.engine.desk import MOST_HOLDS, Desk
from remediator.store.database import Database
from remediator.store.documents import progress_from, progress_json
from tests.store.facts import claimed

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
    return Desk(NOBODY, clock, NOBODY, NOBODY, lambda: (), timedelta(seconds=15))


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
