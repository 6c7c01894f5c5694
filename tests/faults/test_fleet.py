"""The supervisor of the fault run: who ends otherwise than it was to end is told, and so is its own end."""

import asyncio
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from remediator.marks import Mark
from tests.faults.daemon import How
from tests.faults.drawing import draw
from tests.faults.fleet import Fleet
from tests.faults.nursery import Child
from tests.faults.scenario import Fault

PID = 17


class Bears:
    """One child, which ends at once; then none."""

    def __init__(self, code: int, *, struck: str = "") -> None:
        self._code = code
        self._struck = struck
        self._lives = 0

    async def bear(self, environment: dict[str, str], _: Path) -> Child:
        self._lives += 1
        if self._lives > 1:
            raise OSError("no more processes")
        if self._struck:
            Path(environment["FAULTS_TOLD"]).write_text(f"{self._struck}\n")
        ended = asyncio.get_running_loop().create_future()
        ended.set_result(self._code)
        return Child(PID, ended)


async def complaints(folder: Path, how: How, nursery: Any) -> list[str]:
    """When the supervisor has failed, which it does with the second life."""
    scenario = replace(draw(0), replicas=1, faults=(Fault(Mark.PAGE_SENT, 1, how),))
    async with Fleet(nursery, scenario, {}, folder, before_thaw=Mock()).running() as fleet:
        async with asyncio.timeout(5):
            with pytest.raises(OSError, match="no more processes"):
                await fleet.failed
        return fleet.complaints()


@pytest.mark.parametrize(
    ("how", "code"),
    [pytest.param(How.END, 0, id="told to stop"), pytest.param(How.KILL, -signal.SIGKILL, id="killed")],
)
@pytest.mark.parametrize("struck", [True, False], ids=["at its mark", "and never at its mark"])
async def test_who_ends_without_having_reached_its_mark_ended_by_itself(
    tmp_path: Path, how: How, code: int, *, struck: bool
) -> None:
    nursery = Bears(code, struck=f"{PID} {how} {Mark.PAGE_SENT}" if struck else "")

    told = await complaints(tmp_path, how, nursery)

    assert [line.partition(" ended")[2] for line in told] == ([] if struck else [f" by itself with {code}"])
