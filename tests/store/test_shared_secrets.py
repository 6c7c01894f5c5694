"""Replicas agree on the secrets that the daemon made up itself."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from remediator.store import shared_secrets
from remediator.store.database import Connection, Database


@pytest.mark.parametrize("shared", [shared_secrets.link_secret, shared_secrets.api_token])
async def test_replicas_that_start_at_once_agree_on_one(
    database: Database, shared: Callable[[Connection, str], Awaitable[str]]
) -> None:
    async def proposed(secret: str) -> str:
        async with database.transaction() as tx:
            return await shared(tx, secret)

    agreed = await asyncio.gather(*(proposed(f"secret-{number}") for number in range(5)))

    assert len(set(agreed)) == 1
    assert await proposed("too late") == agreed[0]
