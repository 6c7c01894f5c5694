"""The fault run in small: every mark is struck with kill -9, some replicas are frozen, nothing is lost or doubled.

The long run is `make faults`; `python -m tests.faults --seeds 1 --seed N` plays one seed again.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, EnumType
from pathlib import Path

import pytest

from remediator.domain.mode import Mode
from remediator.marks import Mark
from tests.faults import scenario
from tests.faults.daemon import How
from tests.faults.drawing import draw
from tests.faults.figures import ORDER, Figures
from tests.faults.run import BITE, Report, complaints_about, describe, run
from tests.faults.scenario import (
    MARKS,
    DatabaseFault,
    Edit,
    Garbling,
    Loss,
    PagerFault,
    PeerFault,
    Response,
    Scenario,
    Trouble,
)
from tests.faults.violations import Kind, Violation
from tests.faults.world import Verdict

KILLED = list(range(len(MARKS)))
FROZEN = [3 * len(MARKS) + MARKS.index(mark) for mark in (Mark.MOVE_DECIDED, Mark.WRITE_CONNECTED, Mark.PAGE_CLAIMED)]
ANOTHER_TURN = 4 * len(MARKS)
"""So many seeds later the same marks are struck, in other stories."""


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_wherever_a_replica_dies_or_freezes_nothing_is_lost_and_nothing_is_done_twice() -> None:
    report = await _played([*KILLED, *FROZEN])
    missed = report.figures.struck_less_than(1)
    again = await _played([ANOTHER_TURN + MARKS.index(mark) for mark in missed]) if missed else Report()

    failed = [*report.failed, *again.failed]
    assert not failed, "\n".join(map(describe, failed))
    assert set(missed).isdisjoint(again.figures.struck_less_than(1)), (
        "on a busy machine a story may miss its mark, not two"
    )


async def _played(seeds: Sequence[int]) -> Report:
    """PostgreSQL cannot live in pytest's own folders: another run of pytest takes their permissions away."""
    with tempfile.TemporaryDirectory(prefix="remediator-faults-") as name:
        return await run(seeds, Path(name), at_once=8, told=lambda _: None)


def test_as_many_seeds_as_there_are_marks_strike_at_each() -> None:
    for start in range(0, 500, len(MARKS)):
        assert {draw(seed).faults[0].mark for seed in range(start, start + len(MARKS))} == set(Mark)


def test_a_seed_is_always_the_same_scenario() -> None:
    assert [draw(seed) for seed in range(100)] == [draw(seed) for seed in range(100)]


def test_as_many_seeds_as_there_are_marks_poll_peers_and_some_do_not() -> None:
    for start in range(0, 500, len(MARKS)):
        polled = [draw(seed).polling is not None for seed in range(start, start + len(MARKS))]
        assert any(polled)
        assert not all(polled)


def test_a_long_run_has_each_kind_of_trouble_and_seeds_without_it() -> None:
    drawn = [draw(seed) for seed in range(200)]

    assert 10 < sum(scenario.storm is not None for scenario in drawn) < 50
    assert 3 < sum(scenario.mode is Mode.OBSERVE for scenario in drawn) < 30
    assert 3 < sum(scenario.mode is Mode.SUGGEST for scenario in drawn) < 30
    assert 10 < sum(bool(scenario.polling and scenario.polling.silences) for scenario in drawn) < 80
    assert 10 < sum(bool(scenario.edits) for scenario in drawn) < 50
    assert any(scenario.edits and scenario.edits[0].after == 0 for scenario in drawn)
    assert not any(scenario.storm and scenario.hangs_database for scenario in drawn)


KINDS: list[tuple[type[Enum], Callable[[Scenario], Iterable[Enum | None]]]] = [
    (Trouble, lambda scenario: (alarm.trouble for alarm in scenario.alarms)),
    (How, lambda scenario: (fault.how for fault in scenario.faults)),
    (Mode, lambda scenario: (scenario.mode,)),
    (DatabaseFault, lambda scenario: (scenario.database,)),
    (PagerFault, lambda scenario: (scenario.pager,)),
    (Response, lambda scenario: (person.does for person in scenario.people)),
    (Garbling, lambda scenario: (garbled.what for garbled in scenario.garbled)),
    (Edit, lambda scenario: (edited.edit for edited in scenario.edits)),
    (Loss, lambda scenario: scenario.polling.losses if scenario.polling else ()),
    (PeerFault, lambda scenario: (t.fault for t in scenario.polling.troubles) if scenario.polling else ()),
]


@pytest.mark.parametrize(("kind", "of"), KINDS, ids=[kind.__name__ for kind, _ in KINDS])
def test_a_long_run_has_all_of_each_kind(kind: type[Enum], of: Callable[[Scenario], Iterable[Enum | None]]) -> None:
    drawn = {each for seed in range(200) for each in of(draw(seed))}

    assert drawn - {None} == set(kind)


def test_every_kind_of_trouble_is_among_them() -> None:
    named = {
        kind for kind in vars(scenario).values() if isinstance(kind, EnumType) and kind.__module__ == scenario.__name__
    }

    assert named <= {kind for kind, _ in KINDS}


def test_a_long_run_names_each_mark_that_was_hardly_struck_also_where_a_seed_failed() -> None:
    report = Report(Figures(kills=Counter({mark.value: 3 for mark in Mark}) - Counter({Mark.PAGE_SENT.value: 1})))
    report.failed.append(Verdict(draw(7), (Violation(Kind.LOST, "a page"),), Figures(), Path(), ()))

    failed, rare = complaints_about(report, seeds=200)

    assert "failed: 7;" in failed
    assert rare == "struck less than 3 times at: page sent, not recorded"


def test_a_whole_run_names_the_trouble_that_came_to_nothing() -> None:
    report = Report(Figures(kills=Counter({mark.value: 3 for mark in Mark}), counts=Counter(BITE[:-2])))

    assert complaints_about(report, seeds=500) == [
        "in 500 seeds there were no alerts whose rule came later, no starts refused for want of rules"
    ]
    assert complaints_about(report, seeds=200) == []


def test_what_must_come_to_something_is_counted() -> None:
    """By these names."""
    assert set(BITE) <= set(ORDER)
