"""The database's time, between two looks at the database: replicas whose own clocks are wrong still agree."""

import time
from datetime import UTC, datetime, timedelta

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def stopwatch() -> float:
    """In seconds. It runs on while the machine is suspended, where the system has such a clock (Linux): the loop's does
    not, and a lease would seem as long afterwards as before."""
    return time.clock_gettime(_CLOCK)


class DatabaseClock:
    """Call it for the present. `follow` sets it; in between it advances with the stopwatch.

    Never behind the database, were the process frozen at the worst moment: a lease must not seem longer than it is.
    """

    def __init__(self) -> None:
        self._told = datetime.now(UTC)
        self._told_at = stopwatch()

    def follow(self, told: datetime, *, asked_at: float) -> None:
        """`asked_at` by the stopwatch: before the question went out."""
        self._told, self._told_at = told, asked_at

    def __call__(self) -> datetime:
        return self._told + timedelta(seconds=stopwatch() - self._told_at)
