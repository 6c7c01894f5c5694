"""A reload swaps the whole set of rules or changes nothing, whatever has become of the folder."""

import shutil
from pathlib import Path

import pytest

from remediator.engine import rules_in_force
from remediator.engine.rules_in_force import RulesInForce
from remediator.metrics import Metrics
from remediator.rules.loader import Loaded
from remediator.store.database import Database
from tests.rules.folder import RULE, write_rules


def refused(metrics: Metrics) -> bool:
    return b'remediator_rule_reloads_total{result="refused"} 1.0' in metrics.render()


async def test_a_folder_that_is_gone_for_a_while_leaves_the_rules_in_force(tmp_path: Path, database: Database) -> None:
    metrics, folder = Metrics(), write_rules(tmp_path / "rules")
    rules = RulesInForce.load(folder)
    before = rules.rulebook()

    shutil.move(folder, tmp_path / "elsewhere")
    await rules.reload(database, metrics)

    assert rules.rulebook() is before
    assert refused(metrics)

    write_rules(folder, service_down=RULE.replace("has failed", "fails"))
    await rules.reload(database, metrics)

    assert [rule.summary for rule in rules.rulebook().rules] == ["The health check fails."]


async def test_a_bug_in_reading_rules_leaves_them_in_force(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics, rules = Metrics(), RulesInForce.load(write_rules(tmp_path))
    before = rules.rulebook()

    def stumble(folder: Path) -> Loaded:
        raise RecursionError

    monkeypatch.setattr(rules_in_force, "load_rules", stumble)
    await rules.reload(database, metrics)

    assert rules.rulebook() is before
    assert refused(metrics)
