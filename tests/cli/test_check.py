"""`remediator check` says what is wrong in a form for people, for programs and for a review."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from remediator.cli import main
from tests.rules.folder import RULE, SCHEDULES, write_rules

BROKEN = RULE.replace("failing_names", "failling_names")


def test_sound_rules_pass(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["check", str(write_rules(tmp_path))])

    assert (result.exit_code, result.output) == (0, "1 sound rule, 0 errors, 0 warnings\n")


def test_a_problem_is_drawn_with_a_caret_and_ends_in_exit_code_3(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["check", str(write_rules(tmp_path, service_down=BROKEN))])

    assert result.exit_code == 3
    assert "service_down.yaml:14:" in result.output
    assert "did you mean" in result.output
    assert "  14 |     pods: ${{ diagnose.pods.failling_names }}" in result.output
    assert result.output.endswith("0 sound rules, 1 error, 0 warnings\n")


def test_a_warning_alone_is_no_failure(tmp_path: Path) -> None:
    text = RULE[: RULE.index("verify:")]

    result = CliRunner().invoke(main, ["check", str(write_rules(tmp_path, service_down=text))])

    assert result.exit_code == 0
    assert "0 errors, 1 warning" in result.output


def test_json_is_for_programs(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["check", str(write_rules(tmp_path, service_down=BROKEN)), "-o", "json"])

    (problem,) = json.loads(result.output)
    assert problem["line"] == 14
    assert problem["severity"] == "error"


def test_github_draws_it_beside_the_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["check", str(write_rules(tmp_path, service_down=BROKEN)), "-o", "github"])

    assert result.output.startswith(f"::error file={tmp_path}/service_down.yaml,line=14,col=")


@pytest.mark.parametrize("arguments", [["nowhere"], [".", "-o", "xml"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["check", *arguments]).exit_code == 2


def test_with_the_settings_a_timeout_that_does_not_fit_the_lease_is_a_warning(tmp_path: Path) -> None:
    settings, rules = tmp_path / "settings.yaml", write_rules(tmp_path / "rules")
    settings.write_text("engine: { lease_seconds: 12.5 }\n")

    result = CliRunner().invoke(main, ["check", str(rules), "--config", str(settings)])

    assert result.exit_code == 0
    assert "fix[0]: a timeout of 15s does not fit the lease of 12s500ms, it is never done: give it 10s" in result.output
    assert result.output.endswith("1 sound rule, 0 errors, 1 warning\n")


def test_an_hour_in_which_nobody_is_reached_is_an_error(tmp_path: Path) -> None:
    later = SCHEDULES.replace("2024", "2999")

    result = CliRunner().invoke(main, ["check", str(write_rules(tmp_path, oncall__schedules=later))])

    assert result.exit_code == 3
    assert "policy on-call: steps[0] reaches nobody on" in result.output
