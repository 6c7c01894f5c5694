"""The queries of the shipped rules, asked of a real Prometheus' engine."""

import subprocess
from pathlib import Path

import pytest
import yaml

from remediator.rules.loader import load_rules
from tests.fakes.programs import program

RULES = Path(__file__).parents[2] / "rules"
WELL = {"series": 'http_requests_total{code="200"}', "values": "0+60x10"}
BROKEN = {"series": 'http_requests_total{code="500"}', "values": "0+20x10"}
"""A third as many."""
SILENT = {"series": 'http_requests_total{code="200"}', "values": "7x10"}


def query_of(rule: str) -> str:
    document = next(each.document for each in load_rules(RULES).rulebook.rules if each.name == rule)
    checks: list[dict[str, str]] = document["verify"]["checks"]  # type: ignore[index]
    return next(check["query"] for check in checks if check["use"] == "promql")


def answers(folder: Path, query: str, series: list[dict[str, str]], expected: list[dict[str, object]]) -> bool:
    asked = {"expr": query, "eval_time": "2m", "exp_samples": expected}
    file = folder / "asked.yaml"
    file.write_text(
        yaml.safe_dump({"tests": [{"interval": "15s", "input_series": series, "promql_expr_test": [asked]}]})
    )
    return (
        subprocess.run([program("promtool"), "test", "rules", str(file)], capture_output=True, check=False).returncode
        == 0
    )


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        pytest.param([WELL], [{"labels": "{}", "value": 0}], id="no error at all, so no series of errors"),
        pytest.param([WELL, BROKEN], [{"labels": "{}", "value": 0.25}], id="some"),
        pytest.param([BROKEN], [{"labels": "{}", "value": 1}], id="nothing else"),
        pytest.param([], [], id="nothing measured: nothing is proven"),
    ],
)
def test_the_share_of_errors_is_known_where_there_are_requests(
    tmp_path: Path, series: list[dict[str, str]], expected: list[dict[str, object]]
) -> None:
    """A rollback that worked was taken for one that did not: its new pods had answered no request with an error."""
    assert answers(tmp_path, query_of("high-error-rate"), series, expected)


def test_without_requests_the_share_of_errors_is_not_a_number_and_proves_nothing(tmp_path: Path) -> None:
    assert answers(tmp_path, f"({query_of('high-error-rate')}) >= 0", [SILENT], [])
