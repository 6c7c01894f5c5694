"""The fault run in small: every mark is struck once with kill -9, some are frozen, and nothing is lost or doubled.

The long run is `make faults`; `python -m tests.faults --seeds 1 --seed N` plays one seed again.
"""

from pathlib import Path

import pytest

from remediator.marks import Mark
from tests.faults.run import describe, run
from tests.faults.scenario import MARKS, draw

KILLED = range(len(MARKS))
FROZEN = [seed for seed in range(48, 64) if not draw(seed).waits_for_leases][:4]


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_wherever_a_replica_dies_or_freezes_nothing_is_lost_and_nothing_is_done_twice(tmp_path: Path) -> None:
    report = await run([*KILLED, *FROZEN], tmp_path, at_once=8, told=lambda _: None)

    assert not report.failed, "\n".join(map(describe, report.failed))
    assert report.figures.never_reached(1) == []


def test_each_sixteen_seeds_in_a_row_strike_at_every_mark() -> None:
    for start in range(0, 512, len(MARKS)):
        assert {draw(seed).faults[0].mark for seed in range(start, start + len(MARKS))} == set(Mark)


def test_a_seed_is_always_the_same_scenario() -> None:
    assert [draw(seed) for seed in range(100)] == [draw(seed) for seed in range(100)]
