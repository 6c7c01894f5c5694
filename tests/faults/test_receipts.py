"""A 2xx is a promise: kill -9 right after one, while thousands of alerts come in, loses none that was answered."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.receipts import Receipts, environment_for, pour, stored


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_no_alert_that_was_answered_with_a_2xx_is_lost_to_kill_9(tmp_path: Path, database_address: str) -> None:
    receipts = await pour(environment_for(tmp_path, database_address), alerts=2_000, kills=2)

    assert len(receipts.accepted) == 2_000
    assert receipts.accepted <= await stored(database_address)


async def test_what_was_answered_before_anybody_waits_for_it_is_not_waited_for() -> None:
    """Few alerts are all answered while one daemon dies and the next one starts."""
    receipts = Receipts("http://127.0.0.1", accepted={"a", "b"})

    async with asyncio.timeout(1):
        await receipts.reach(1)
        await receipts.reach(2)
