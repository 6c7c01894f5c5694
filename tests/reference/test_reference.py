"""The pages about metrics and settings are what the code says, and the alerts ask for metrics that there are."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.fakes.programs import program
from tests.reference.metrics import all_metrics, labels_of, series_of
from tests.reference.pages import DOCS, PAGES
from tests.reference.settings import docstrings, sections

ALERTS = DOCS / "alerts.yaml"
RULES = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_page_is_current(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == PAGES[page](), "run `make docs`"


@pytest.mark.parametrize("section", list(dict.fromkeys(sections())), ids=lambda section: section.__name__)
def test_each_setting_says_what_it_is(section: type) -> None:
    assert sorted(section.model_fields.keys() - docstrings(section).keys()) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_there_is(rule: dict[str, str]) -> None:
    known = {series_of(metric): set(labels_of(metric)) for metric in all_metrics()}

    asked = re.findall(r"(remediator_\w+)(?:\{([^}]*)\})?", rule["expr"])

    assert asked
    for name, matchers in asked:
        assert set(re.findall(r"(\w+)[=!]", matchers)) <= known[name]
    assert set(re.findall(r"\$labels\.(\w+)", str(rule))) <= {"instance"}.union(*(known[name] for name, _ in asked))


def test_prometheus_reads_the_alerts() -> None:
    code, printed = promtool("check", "rules", ALERTS)

    assert code == 0, printed
    assert f"{len(RULES)} rules found" in printed


QUIET = {
    "remediator_database_up": "1",
    "remediator_oldest_unsent_page_seconds": "0",
    "remediator_kill_switch": "0",
    'remediator_pages_total{channel="chat",result="failed"}': "0",
    'remediator_last_resort_pages_total{channel="chat",result="failed"}': "0",
    'remediator_deliveries_total{source="alertmanager",answer="202"}': "0+1x2000",
    'remediator_alerts_total{filing="rejected"}': "0",
    'remediator_source_polls_total{source="am",result="answered"}': "0+2x2000",
    'remediator_rule_files_with_problems{severity="error"}': "0",
    'remediator_rule_reloads_total{result="refused"}': "0",
    'remediator_partitions_ahead{table="deliveries"}': "2",
    "remediator_retention_ended_timestamp_seconds": "0+60x2000",
}
"""What a daemon that is well shows, a sample a minute."""


@pytest.mark.parametrize(
    ("alert", "series", "values"),
    [
        pytest.param("RemediatorAbsent", "remediator_database_up", None, id="absent"),
        pytest.param("RemediatorDatabaseLost", "remediator_database_up", "0x2000", id="database"),
        pytest.param("RemediatorPagesWait", "remediator_oldest_unsent_page_seconds", "0+60x2000", id="pages wait"),
        pytest.param(
            "RemediatorChannelFails",
            'remediator_pages_total{channel="chat",result="failed"}',
            "0x1555 1x500",
            id="page",
        ),
        pytest.param(
            "RemediatorFailsFromMemory",
            'remediator_last_resort_pages_total{channel="chat",result="failed"}',
            "0x1555 1x500",
            id="from memory",
        ),
        pytest.param(
            "RemediatorRefusesAlerts",
            'remediator_deliveries_total{source="alertmanager",answer="503"}',
            "0+1x2000",
            id="refuses",
        ),
        pytest.param(
            "RemediatorSenderUnknown",
            'remediator_deliveries_total{source="alertmanager",answer="401"}',
            "0+1x2000",
            id="unknown",
        ),
        pytest.param(
            "RemediatorAlertsNotStored", 'remediator_alerts_total{filing="rejected"}', "0x1555 1x500", id="not stored"
        ),
        pytest.param(
            "RemediatorHearsNothing",
            'remediator_deliveries_total{source="alertmanager",answer="202"}',
            "7x2000",
            id="hears nothing",
        ),
        pytest.param(
            "RemediatorPollsFail", 'remediator_source_polls_total{source="am",result="failed"}', "0+9x2000", id="polls"
        ),
        pytest.param(
            "RemediatorRulesBroken", 'remediator_rule_files_with_problems{severity="error"}', "1x2000", id="rules"
        ),
        pytest.param(
            "RemediatorReloadRefused", 'remediator_rule_reloads_total{result="refused"}', "0x1555 1x500", id="reload"
        ),
        pytest.param("RemediatorKillSwitchOn", "remediator_kill_switch", "1x2000", id="kill switch"),
        pytest.param(
            "RemediatorPartitionsMissing", 'remediator_partitions_ahead{table="deliveries"}', "0x2000", id="partitions"
        ),
        pytest.param(
            "RemediatorNotClearedUp", "remediator_retention_ended_timestamp_seconds", "60x2000", id="not cleared"
        ),
    ],
)
def test_an_alert_fires_on_its_trouble_and_no_other_does(
    tmp_path: Path, alert: str, series: str, values: str | None
) -> None:
    told = {**QUIET, series: values}
    story = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": name, "values": _lasting(shown)} for name, shown in told.items() if shown is not None
                ],
                "promql_expr_test": [
                    {
                        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": "26h",
                        "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": 1}],
                    }
                ],
            }
        ],
    }
    file = tmp_path / "story.yaml"
    file.write_text(yaml.safe_dump(story))

    code, printed = promtool("test", "rules", file)

    assert code == 0, printed


def promtool(*arguments: str | Path) -> tuple[int, str]:
    ended = subprocess.run([program("promtool"), *arguments], check=False, capture_output=True, text=True)
    return ended.returncode, ended.stdout + ended.stderr


def _lasting(values: str) -> str:
    return values if "x" in values else f"{values}x2000"
