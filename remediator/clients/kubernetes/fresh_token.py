"""A kubeconfig's token ends; its plug-in, file or OpenID server gives the next one when it is asked again."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import structlog

EVERY = timedelta(minutes=1)
SECONDS = 6.0
"""A little more than a plug-in has: when that is killed, it is told what to do about it."""

log = structlog.get_logger()


class FreshToken:
    """Called by kubernetes-asyncio with its configuration before each request. Never raises: the old token may do."""

    def __init__(
        self, read: Callable[[], Awaitable[Mapping[str, str]]], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`read` gives the API keys as they are now."""
        self._read = read
        self._monotonic = monotonic
        self._due = self._next()
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, configuration: Any) -> None:
        """Whoever comes meanwhile waits for the new token: the old one may have ended."""
        async with self._one_at_a_time:
            if self._monotonic() < self._due:
                return
            self._due = self._next()
            try:
                async with asyncio.timeout(SECONDS):
                    configuration.api_key.update(await self._read())
            except Exception as error:  # whatever is wrong with a file or a plug-in, the old token may do
                log.warning("cluster credentials not refreshed", error=str(error) or type(error).__name__)

    def _next(self) -> float:
        return self._monotonic() + EVERY.total_seconds()
