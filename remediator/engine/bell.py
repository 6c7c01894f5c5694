"""Wakes the loops before their next poll. A hint only: whoever misses it finds the work within a second."""

import asyncio
from datetime import timedelta


class Bell:
    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, at_most: timedelta) -> None:
        try:
            async with asyncio.timeout(max(at_most.total_seconds(), 0)):
                await self._rung.wait()
        except TimeoutError:
            return
        finally:
            self._rung.clear()
