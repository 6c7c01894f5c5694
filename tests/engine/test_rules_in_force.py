"""A reload swaps the whole set of rules or changes nothing, whatever has become of the folder."""

import asyncio
import errno
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from remediator.domain.errors import BadDocument, Temporary
from remediator.engine import rules_in_force
from remediator.engine.rules_in_force import Outcome, RulesInForce, remember
from remediator.metrics import Metrics
from remediator.rules.loader import Loaded
from remediator.store import rule_versions
from remediator.store.database import Database
from tests.cluster.eventually import eventually
from tests.rules.folder import RULE, write_rules


def reloads(metrics: Metrics, result: str) -> float | None:
    return metrics.registry.get_sample_value("remediator_rule_reloads_total", {"result": result})


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


async def test_a_write_that_does_not_fit_the_lease_is_told_when_its_rule_comes_into_force(
    tmp_path: Path, database: Database
) -> None:
    """It is refused each time, and only the timelines said so."""
    minute = timedelta(minutes=1)
    slow = RULE.replace("use: delete_pod", "use: delete_pod\n    timeout: 2m")
    with capture_logs() as told:
        rules = RulesInForce.load(write_rules(tmp_path), lease=minute)
        assert told == []
        write_rules(tmp_path, service_down=slow)
        await rules.reload(database, Metrics())
        RulesInForce.load(tmp_path, lease=minute)

    reloaded, started = [each for each in told if each["event"] == "timeouts do not fit the lease"]
    assert reloaded == started
    assert started["log_level"] == "error"
    assert started["steps"][0].startswith("service-down: fix[0]: a timeout of 2m does not fit")


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


async def test_a_bug_in_storing_the_new_rules_leaves_the_old_ones_in_force(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = RulesInForce.load(write_rules(tmp_path))
    before = rules.rulebook()

    async def stumble(*_: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(rule_versions, "save", stumble)
    await rules.reload(database, Metrics())

    assert rules.rulebook() is before


@asynccontextmanager
async def looking_at(rules: RulesInForce, database: Database) -> AsyncIterator[None]:
    looking = asyncio.create_task(rules.keep_current(database, Metrics()))
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def test_rules_that_changed_while_a_start_waited_for_its_database_are_in_force_at_once(
    tmp_path: Path, database: Database
) -> None:
    rules = RulesInForce.load(write_rules(tmp_path))
    write_rules(tmp_path, service_down=RULE.replace("has failed", "fails"))

    async def is_in_force() -> bool:
        return [rule.summary for rule in rules.rulebook().rules] == ["The health check fails."]

    async with looking_at(rules, database):
        await eventually(is_in_force, within=5)


async def test_a_rule_that_was_in_force_long_ago_and_is_again_is_not_about_to_be_forgotten(
    tmp_path: Path, database: Database
) -> None:
    rulebook = RulesInForce.load(write_rules(tmp_path)).rulebook()
    await remember(rulebook, database)
    async with database.transaction() as tx:
        await tx.execute("UPDATE rule_versions SET seen_at = now() - interval '2 years'")

    await remember(rulebook, database)

    async with database.connection() as connection:
        assert await connection.fetchval("SELECT min(seen_at) > now() - interval '1 minute' FROM rule_versions")


async def test_rules_that_an_outage_kept_from_being_stored_are_in_force_soon_after_it(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after another look at the files, ten seconds later."""
    save, failures = rule_versions.save, [Temporary("reset", system="database", operation="save")]

    async def save_at_the_second_try(*what: Any) -> Any:
        monkeypatch.setattr(rules_in_force, "LOOK_EVERY", timedelta(hours=1))
        if failures:
            raise failures.pop()
        return await save(*what)

    rules = RulesInForce.load(write_rules(tmp_path))
    write_rules(tmp_path, service_down=RULE.replace("has failed", "fails"))
    monkeypatch.setattr(rules_in_force, "LOOK_EVERY", timedelta())
    monkeypatch.setattr(rules_in_force, "RETRY_EVERY", timedelta(milliseconds=10))
    monkeypatch.setattr(rule_versions, "save", save_at_the_second_try)

    async def is_in_force() -> bool:
        return [rule.summary for rule in rules.rulebook().rules] == ["The health check fails."]

    async with looking_at(rules, database):
        await eventually(is_in_force, within=5)


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """The file by that name cannot be read for now; by no name, each can."""
    read_bytes, unreadable = Path.read_bytes, [""]

    def stumbling(path: Path) -> bytes:
        if path.name == unreadable[0]:
            raise OSError(errno.ESTALE, "stale file handle")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", stumbling)
    monkeypatch.setattr(rules_in_force, "LOOK_EVERY", timedelta(milliseconds=10))

    def set_unreadable(name: str) -> None:
        unreadable[0] = name

    return set_unreadable


@pytest.mark.parametrize("reloads", [False, True], ids=["at the start", "at a reload"])
async def test_a_file_that_cannot_be_read_for_a_while_is_read_again_though_it_stays_the_same(
    tmp_path: Path, database: Database, flaky: Callable[[str], None], reloads: bool
) -> None:
    more = RULE.replace("service-down", "service-slow").replace("ServiceDown", "ServiceSlow")
    flaky("slow.yaml")
    if reloads:
        rules = RulesInForce.load(write_rules(tmp_path))
        write_rules(tmp_path, slow=more)
        await rules.reload(database, Metrics())
    else:
        rules = RulesInForce.load(write_rules(tmp_path, slow=more))
    flaky("")

    async def has_both() -> bool:
        return len(rules.rulebook().rules) == 2

    async with looking_at(rules, database):
        await eventually(has_both, within=5)


@pytest.mark.parametrize("setting", ["last_resort.channels", "review_channel"])
def test_a_channel_that_the_settings_name_must_exist(tmp_path: Path, setting: str) -> None:
    folder = write_rules(tmp_path / "rules")

    RulesInForce.load(folder, {setting: ["ops"]})
    with pytest.raises(BadDocument, match=rf"{setting}: there is no channel 'opps' .* did you mean 'ops'"):
        RulesInForce.load(folder, {setting: ["opps"]})


async def test_a_link_that_leads_nowhere_is_told_once_and_is_no_reload(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is read again at each look, for it may lead somewhere by then."""
    monkeypatch.setattr(rules_in_force, "LOOK_EVERY", timedelta(milliseconds=10))
    link = write_rules(tmp_path / "rules") / "slow.yaml"
    link.symlink_to(tmp_path / "slow")
    metrics = Metrics()

    with capture_logs() as told:
        rules = RulesInForce.load(tmp_path / "rules")
        looks = [await rules.look(database, metrics) for _ in range(3)]  # what `keep_current` does at each turn

    assert looks == [Outcome.UNCHANGED] * 3
    assert [each["event"] for each in told] == ["rule problem"]
    assert not reloads(metrics, "refused")

    (tmp_path / "slow").write_text(RULE.replace("service-down", "service-slow").replace("ServiceDown", "ServiceSlow"))
    assert await rules.look(database, metrics) is Outcome.IN_FORCE


async def test_who_asks_for_a_reload_is_told_of_it(tmp_path: Path, database: Database) -> None:
    (write_rules(tmp_path) / "broken.yaml").write_text("rule: [")
    rules, metrics = RulesInForce.load(tmp_path), Metrics()

    with capture_logs() as told:
        await rules.reload(database, metrics)

    assert [each["event"] for each in told] == ["rule problem", "rules not reloaded, the old set stays in force"]
    assert reloads(metrics, "refused") == 1
