"""`python -m tests.faults.daemon`: the real `remediator serve`, which dies, freezes or stops at a given mark.

It listens to its own audit events from outside the product. The fault is told by the environment:

    FAULTS_MARK=move-written FAULTS_OCCURRENCE=2 FAULTS_HOW=kill python -m tests.faults.daemon
"""

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from remediator.marks import AUDIT_EVENT, Mark


class How(StrEnum):
    KILL = "kill"
    STOP = "stop"
    """A replica that is alive for itself and dead for everybody else: SIGSTOP."""
    END = "end"
    """A replica that is told to stop, as in every roll-out: SIGTERM."""


_SIGNALS = {How.KILL: signal.SIGKILL, How.STOP: signal.SIGSTOP, How.END: signal.SIGTERM}


class Executioner:
    """An audit hook: ends, freezes or stops this very process at the n-th time that the mark is reached."""

    def __init__(self, mark: Mark, occurrence: int, *, how: How, told_in: int | None = None) -> None:
        self._mark = mark.value
        self._left = occurrence
        self._how = how
        self._told_in = told_in

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if event != AUDIT_EVENT or arguments[0] != self._mark:
            return
        self._left -= 1
        if self._left == 0:
            if self._told_in is not None:
                os.write(self._told_in, f"{os.getpid()} {self._how} {self._mark}\n".encode())
            os.kill(os.getpid(), _SIGNALS[self._how])


def executioner(environment: Mapping[str, str]) -> Executioner | None:
    """None where the environment asks for no fault."""
    name = environment.get("FAULTS_MARK")
    if not name:
        return None
    told = environment.get("FAULTS_TOLD")
    return Executioner(
        Mark[name.upper().replace("-", "_")],
        int(environment.get("FAULTS_OCCURRENCE", "1")),
        how=How(environment.get("FAULTS_HOW", "kill")),
        told_in=os.open(Path(told), os.O_WRONLY | os.O_CREAT | os.O_APPEND) if told else None,
    )


def main() -> None:
    from remediator.cli import main as remediator

    hook = executioner(os.environ)
    if hook is not None:
        sys.addaudithook(hook)
    with ExitStack() as clock:
        if hours := float(os.environ.get("FAULTS_CLOCK_HOURS", "0")):
            import time_machine

            clock.enter_context(time_machine.travel(datetime.now(UTC) + timedelta(hours=hours), tick=True))
        remediator(["serve"], prog_name="remediator")


if __name__ == "__main__":
    main()
