"""Whether the database serves us, as far as anybody in this process knows. Asked without asking the database.

The watch (`store/watch.py`) decides; whoever meets a failure casts a doubt, which wakes the watch.
"""

import asyncio
import random
import time
from collections.abc import Callable
from datetime import timedelta

import structlog

from remediator.domain.errors import Temporary
from remediator.domain.outage import Outage, is_over, lost, recovered

log = structlog.get_logger()

LOOK_AGAIN = timedelta(seconds=1)
"""How soon a loop tries again that met a failure."""
TELL_AGAIN = timedelta(minutes=1)
"""Of a step that goes on failing, or fails anew, though the database is well as far as the watch can see."""


def monotonic() -> timedelta:
    return timedelta(seconds=time.monotonic())


class Health:
    def __init__(self, clock: Callable[[], timedelta] = monotonic) -> None:
        self._clock = clock
        self._outage: Outage | None = None
        self._answers = True
        self._doubt = ""
        self._doubted = asyncio.Event()
        self._well = asyncio.Event()
        self._well.set()
        self._told: dict[str, timedelta] = {}

    @property
    def is_well(self) -> bool:
        return self._outage is None or self._outage.ended is not None

    @property
    def is_steady(self) -> bool:
        """Well, and for long enough to believe it."""
        return self._outage is None

    @property
    def reason(self) -> str:
        """Why it is not well; empty where it is."""
        return "" if self._outage is None or self.is_well else self._outage.reason

    @property
    def down_for(self) -> timedelta:
        """Zero where it is well."""
        return timedelta() if self._outage is None or self.is_well else self._outage.lasted(self._clock())

    @property
    def answers(self) -> bool:
        """Whether the server is there, as far as is known; it may still not do what it is asked."""
        return self._answers

    @property
    def doubt(self) -> str:
        """What somebody met that the watch has not judged yet."""
        return self._doubt

    def demand_answers(self, operation: str) -> None:
        """Raises `Temporary` at once where the server is known not to answer: nobody waits for what cannot come."""
        if not self._answers:
            raise Temporary(f"{self.reason}, for {self._seconds():.0f} s", system="database", operation=operation)

    def cast_doubt(self, reason: str) -> None:
        self._doubt = reason
        self._doubted.set()

    async def wait_for_doubt(self, at_most: timedelta) -> None:
        try:
            async with asyncio.timeout(at_most.total_seconds()):
                await self._doubted.wait()
        except TimeoutError:
            return
        finally:
            self._doubted.clear()

    async def sit_out(self, doing: str, error: Temporary) -> None:
        """For a loop whose step failed: says so once an outage, or now and then where nobody sees one, and waits until
        another try is worth it."""
        if self._is_news(doing):
            log.warning("put off until the database is well", doing=doing, error=str(error))
        if self.is_well:
            jitter = random.uniform(0.5, 1)  # noqa: S311  # spreads load, guards nothing
            await asyncio.sleep(LOOK_AGAIN.total_seconds() * jitter)
        else:
            await self._well.wait()

    def _is_news(self, doing: str) -> bool:
        now, told = self._clock(), self._told.get(doing)
        if told is not None and (now - told < TELL_AGAIN or not self.is_well):
            return False
        self._told[doing] = now
        return True

    def lost(self, reason: str, *, answers: bool = False) -> None:
        """`answers`: the server is there, but does not do what it is asked; trying may still help."""
        known, now = self._outage, self._clock()
        self._outage = lost(known, now, reason)
        self._answers = answers
        self._well.clear()
        if known is None or self._outage.began != known.began:
            self._told.clear()
            log.error("the database is lost", reason=reason)

    def found_well(self) -> None:
        self._doubt, self._answers = "", True
        self._well.set()
        if self._outage is None:
            return
        now = self._clock()
        self._outage = recovered(self._outage, now)
        if is_over(self._outage, now):
            log.info("the database is back", lost_for_seconds=round(self._outage.lasted(now).total_seconds(), 1))
            self._outage = None
            self._told.clear()

    def _seconds(self) -> float:
        return self.down_for.total_seconds()
