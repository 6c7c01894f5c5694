"""SIGHUP says that there are other rules; it ends nobody, whenever it comes."""

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from remediator.engine.rules_in_force import LOOK_EVERY
from tests.cluster.eventually import eventually
from tests.faults.nursery import Nursery
from tests.faults.serving import answers, serving
from tests.system.daemon import TOKEN
from tests.system.rules import SERVICE_DOWN, write_rules

NO_DATABASE = "postgresql://127.0.0.1:1/none"


@pytest.fixture
async def nursery() -> AsyncIterator[Nursery]:
    async with Nursery.open() as opened:
        yield opened


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    return {
        "REMEDIATOR_DATA_DIR": str(tmp_path / "data"),
        "REMEDIATOR_RULES_DIR": str(write_rules(tmp_path / "rules")),
        "REMEDIATOR_WEBHOOKS__TOKENS": json.dumps({"alertmanager": [TOKEN]}),
    }


@pytest.mark.timeout(120)
async def test_who_still_waits_for_the_database_goes_on_waiting(
    nursery: Nursery, environment: dict[str, str], tmp_path: Path
) -> None:
    without = environment | {"DATABASE_URL": NO_DATABASE}
    async with serving(nursery, without, tmp_path, once="/healthz") as (child, _):
        child.signal(signal.SIGHUP)
        child.signal(signal.SIGTERM)

        assert await child.ended == 0


@pytest.mark.timeout(120)
async def test_who_runs_has_the_other_rules_at_once(
    nursery: Nursery, environment: dict[str, str], database_address: str, tmp_path: Path
) -> None:
    async with serving(nursery, environment | {"DATABASE_URL": database_address}, tmp_path) as (child, client):
        write_rules(tmp_path / "rules", **{"service-down": SERVICE_DOWN.replace("has failed", "fails")})

        child.signal(signal.SIGHUP)

        reloaded = 'remediator_rule_reloads_total{result="ok"} 1.0'
        await eventually(lambda: answers(client, "/metrics", reloaded), within=LOOK_EVERY.total_seconds() / 2)
        child.signal(signal.SIGTERM)
        assert await child.ended == 0
