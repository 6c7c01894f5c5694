"""A 2xx is a promise: kill -9 right after one, thousands of times over, loses none of those that were answered."""

from pathlib import Path

import pytest

from tests.faults.receipts import free_port, pour, stored
from tests.system.daemon import TOKEN
from tests.system.rules import write_rules


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_no_alert_that_was_answered_with_a_2xx_is_lost_to_kill_9(tmp_path: Path, database_address: str) -> None:
    environment = {
        "DATABASE_URL": database_address,
        "REMEDIATOR_PORT": str(free_port()),
        "REMEDIATOR_DATA_DIR": str(tmp_path / "data"),
        "REMEDIATOR_RULES_DIR": str(write_rules(tmp_path / "rules")),
        "REMEDIATOR_WEBHOOKS__TOKENS": f'{{"alertmanager": ["{TOKEN}"]}}',
        "REMEDIATOR_LOG_LEVEL": "error",
    }

    receipts = await pour(environment, alerts=2_000, kills=2)

    assert len(receipts.accepted) == 2_000
    assert receipts.accepted <= await stored(database_address)
