"""One loop is let finish what it is at before another takes its share of the processor. Nobody waits for long."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

MOST_SECONDS = 0.5


class RightOfWay:
    def __init__(self) -> None:
        self._is_free = asyncio.Event()
        self._is_free.set()
        self._until = 0.0
        """On the loop's clock: from then on it is given, whether or not it is still taken."""

    @contextmanager
    def taken(self) -> Iterator[None]:
        self._until = asyncio.get_running_loop().time() + MOST_SECONDS
        self._is_free.clear()
        try:
            yield
        finally:
            self._is_free.set()

    async def given(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(self._until):
                await self._is_free.wait()
