"""The database's time, between two looks at the database: replicas whose own clocks are wrong still agree."""

import time
from datetime import UTC, datetime, timedelta


class DatabaseClock:
    """Call it for the present. `follow` sets it; in between it advances with the monotonic clock."""

    def __init__(self) -> None:
        self._told = datetime.now(UTC)
        self._told_at = time.monotonic()

    def follow(self, told: datetime) -> None:
        self._told, self._told_at = told, time.monotonic()

    def __call__(self) -> datetime:
        return self._told + timedelta(seconds=time.monotonic() - self._told_at)
