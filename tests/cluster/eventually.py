"""Waits for what other processes do: the only place of the tests that may poll."""

import asyncio
from collections.abc import Awaitable, Callable


async def eventually(fact: Callable[[], Awaitable[bool]], *, within: float = 30) -> None:
    """Fails with `TimeoutError`."""
    async with asyncio.timeout(within):
        while not await fact():  # noqa: ASYNC110  # nothing in this process could be awaited
            await asyncio.sleep(0.1)
