"""The folder of rules in each edition: what a daemon would find there, and when it may refuse to begin."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from remediator.domain.errors import BadDocument
from remediator.rules.loader import load_rules
from tests.faults.editing import RuleFiles
from tests.faults.rules import MISSED, summary_of
from tests.faults.scenario import Edit, Trouble


@pytest.fixture
def files(tmp_path: Path) -> RuleFiles:
    return RuleFiles(tmp_path, sink="http://127.0.0.1", timeout="10s")


def test_every_rule_of_a_later_edition_has_another_version(files: RuleFiles) -> None:
    before = {rule.version for rule in load_rules(files.publish()).rulebook.rules}
    later = load_rules(files.publish()).rulebook.rules

    assert [rule.summary for rule in later] == [summary_of(1)] * len(Trouble)
    assert before.isdisjoint(rule.version for rule in later)


def test_where_one_rule_is_gone_the_others_are_there(files: RuleFiles) -> None:
    loaded = load_rules(files.publish(Edit.RULE_GONE))

    assert not loaded.has_errors
    assert {rule.name for rule in loaded.rulebook.rules} == {trouble.lower() for trouble in Trouble} - {MISSED.lower()}


@pytest.mark.parametrize("edit", [Edit.NOT_YAML, Edit.ONE_RULE_WRONG, Edit.EMPTY])
def test_what_is_broken_can_replace_nothing(files: RuleFiles, edit: Edit) -> None:
    loaded = load_rules(files.publish(edit))

    assert loaded.has_errors or not loaded.rulebook.rules


def test_a_folder_that_is_gone_is_refused(files: RuleFiles) -> None:
    files.publish()

    with pytest.raises(BadDocument):
        load_rules(files.publish(Edit.GONE))


def test_who_began_after_the_mending_found_rules(files: RuleFiles) -> None:
    before = datetime.now(UTC)
    files.publish()
    files.publish(Edit.NOT_YAML)
    files.publish()

    assert files.were_missing(before)
    assert not files.were_missing(datetime.now(UTC))
