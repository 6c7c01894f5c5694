"""The daemon's settings for a test, with its own database, cluster and rules."""

from collections.abc import Callable
from pathlib import Path

import pytest

from remediator.settings import Settings
from tests.fakes.kubernetes import FakeCluster
from tests.system.daemon import settings_for
from tests.system.rules import write_rules

SettingsOf = Callable[..., Settings]


@pytest.fixture
def settings_of(tmp_path: Path, database_address: str, fake_cluster: FakeCluster) -> SettingsOf:
    """`settings_of("act", **{"service-down": text})`: rule files by name, as `write_rules` takes them."""

    def made(mode: str = "act", **files: str) -> Settings:
        return settings_for(
            tmp_path,
            write_rules(tmp_path / "rules", **files),
            database_url=database_address,
            kubeconfig=fake_cluster.write_kubeconfig(tmp_path / "kubeconfig"),
            mode=mode,
        )

    return made
