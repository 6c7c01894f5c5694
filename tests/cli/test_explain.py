"""`remediator explain` tells what would happen, and why not something else, without touching anything."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from remediator.cli import main
from tests.cli.alerts import write_alert
from tests.rules.folder import RULE, write_rules

OTHER = RULE.replace("service-down", "slow").replace("ServiceDown", "Slow")


def explain(folder: Path, alert: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["explain", str(alert), "--rules", str(folder), *options])


def test_it_says_which_rule_matches_and_why_the_others_do_not(tmp_path: Path) -> None:
    result = explain(write_rules(tmp_path, slow=OTHER), write_alert(tmp_path))

    assert result.exit_code == 0, result.output
    assert "yes service-down" in result.output
    assert """wants alertname="Slow", but alertname is 'ServiceDown'""" in result.output


def test_it_tells_the_whole_plan_in_words(tmp_path: Path) -> None:
    output = explain(write_rules(tmp_path), write_alert(tmp_path)).output

    assert "incident 'ServiceDown on deployment/prod/backend'" in output
    assert "severity sev1: Critical (Complete outage.), respond within 15m" in output
    assert "fix[0] delete_pod" in output
    assert "waits for what the looks find" in output
    assert "guard.kill_switch" in output
    assert "verify.checks[0] workload_ready" in output
    assert "at once: primary -> Alice (alice)" in output
    assert "after 15m: bob, ops -> Bob (bob), ops" in output


def test_it_shows_what_whoever_is_paged_is_told_and_where_they_look(tmp_path: Path) -> None:
    rule = f"{RULE}links:\n  Errors: https://grafana.example.invalid/d/errors\n"
    output = explain(write_rules(tmp_path, service_down=rule), write_alert(tmp_path)).output

    assert "summary The health check has failed." in output
    assert "    Errors: https://grafana.example.invalid/d/errors\n" in output


@pytest.mark.parametrize(
    ("facts", "answer"),
    [
        ({"failing": 1, "failing_names": ["a"]}, "chosen first"),
        ({"failing": 0, "failing_names": []}, "not met: diagnose.pods.failing > 0"),
        ({"ok": False, "error": "forbidden"}, "not met, because it cannot be told"),
    ],
)
def test_given_findings_decide_which_fix_is_chosen(tmp_path: Path, facts: dict[str, object], answer: str) -> None:
    findings = tmp_path / "findings.json"
    findings.write_text(json.dumps({"pods": facts}))

    result = explain(write_rules(tmp_path), write_alert(tmp_path), "--findings", str(findings))

    assert answer in result.output


def test_an_alert_without_a_rule_pages_nobody_and_that_is_said(tmp_path: Path) -> None:
    result = explain(write_rules(tmp_path), write_alert(tmp_path, alertname="Unknown"))

    assert "no rule matches, so nobody is paged" in result.output


def test_a_missing_label_is_told(tmp_path: Path) -> None:
    result = explain(write_rules(tmp_path), write_alert(tmp_path, deployment="Not A Name"))

    assert "no target, so no fix" in result.output
    assert "no: the alert names no target" in result.output


def test_json_holds_the_same(tmp_path: Path) -> None:
    result = explain(write_rules(tmp_path), write_alert(tmp_path), "-o", "json")

    (told,) = json.loads(result.output)
    assert told["opening"]["rule"] == "service-down"
    assert told["fixes"][0]["when"] == "diagnose.pods.failing > 0"
    assert told["guidance"] == {"summary": "The health check has failed.", "links": {}}
    assert (told["pages"][0]["people"], told["pages"][0]["called"]) == (["alice"], ["Alice (alice)"])


def test_hostile_labels_reach_no_terminal(tmp_path: Path) -> None:
    result = explain(write_rules(tmp_path), write_alert(tmp_path, note="\x1b[2J\n"))

    assert "\x1b" not in result.output


@pytest.mark.parametrize("text", ["no JSON", '{"alerts": []}', '{"a": 1}', "3"])
def test_what_is_no_alert_is_wrong_usage(tmp_path: Path, text: str) -> None:
    alert = tmp_path / "alert.json"
    alert.write_text(text)

    assert explain(write_rules(tmp_path), alert).exit_code == 2
