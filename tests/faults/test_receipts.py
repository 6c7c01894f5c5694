"""A 2xx is a promise: kill -9 right after one, while thousands of alerts come in, loses none that was answered."""

from pathlib import Path

import pytest

from tests.faults.receipts import environment_for, pour, stored


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_no_alert_that_was_answered_with_a_2xx_is_lost_to_kill_9(tmp_path: Path, database_address: str) -> None:
    receipts = await pour(environment_for(tmp_path, database_address), alerts=2_000, kills=2)

    assert len(receipts.accepted) == 2_000
    assert receipts.accepted <= await stored(database_address)
