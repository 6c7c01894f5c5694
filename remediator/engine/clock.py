"""The database's time, between two looks at the database: replicas whose own clocks are wrong still agree."""

import time
from datetime import UTC, datetime, timedelta


class DatabaseClock:
    """Call it for the present. `follow` sets it; in between it advances with the monotonic clock.

    Never behind the database, were the process frozen at the worst moment: a lease must not seem longer than it is.
    """

    def __init__(self) -> None:
        self._told = datetime.now(UTC)
        self._told_at = time.monotonic()

    def follow(self, told: datetime, *, asked_at: float) -> None:
        """`asked_at` by the monotonic clock: before the question went out."""
        self._told, self._told_at = told, asked_at

    def __call__(self) -> datetime:
        return self._told + timedelta(seconds=time.monotonic() - self._told_at)
