"""A start waits for the embedded PostgreSQL as it waits for any other."""

import asyncio
import fcntl
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from remediator.app import daemon
from remediator.domain.errors import BadDocument, Temporary
from remediator.settings import Settings
from remediator.store import embedded_folder
from tests.fakes.folders import open_to_all

SHIPPED = Path(__file__).parents[2] / "rules"


@pytest.fixture
async def settings() -> AsyncIterator[Settings]:
    folder = open_to_all(tempfile.mkdtemp(prefix="remediator-start-"))
    yield Settings.model_validate(
        {
            "rules_dir": SHIPPED,
            "data_dir": folder,
            "port": 0,
            "webhooks": {"allow_unauthenticated": True},
            "database_wait_seconds": 30,
        }
    )
    shutil.rmtree(folder)


async def test_one_that_cannot_be_started_yet_is_tried_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_folder, "TURN_SECONDS", 0.1)
    with (settings.data_dir / ".postgresql.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as another process that starts or stops it
        asyncio.get_running_loop().call_later(1, fcntl.flock, lock, fcntl.LOCK_UN)

        async with daemon(settings) as running:
            assert running.rules.rulebook().rules


async def test_it_is_not_waited_for_for_ever(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_folder, "TURN_SECONDS", 0.1)
    impatient = settings.model_copy(update={"database_wait_seconds": 0.2})
    with (settings.data_dir / ".postgresql.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        with pytest.raises(Temporary, match="another process makes, starts or stops"):
            async with daemon(impatient):
                pass


async def test_rules_that_cannot_be_used_are_told_though_it_is_waited_for(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_folder, "TURN_SECONDS", 0.1)
    without_rules = settings.model_copy(update={"rules_dir": tmp_path})
    with (settings.data_dir / ".postgresql.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)

        async with asyncio.timeout(10):
            with pytest.raises(BadDocument, match="no usable rule"):
                async with daemon(without_rules):
                    pass
