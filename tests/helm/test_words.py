"""What people read at an install is true for what they install."""

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

import pytest
from click.testing import CliRunner

from remediator.cli import rbac
from tests.helm.chart import CHART, render

README = (CHART.parent / "README.md").read_text()
SHIPPED_PLACE = "social-live-prod"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        pytest.param({}, "fixes are not\nrehearsed", id="observe"),
        pytest.param({"rbac": {"writes": "always"}}, "looks, plans and rehearses", id="observe-with-writes"),
        pytest.param({"rbac": {"create": False}}, "where the roles you give it\nallow the writes", id="own-roles"),
        pytest.param({"settings": {"mode": "act"}}, "runs in act mode.", id="act"),
        pytest.param({"settings": {"mode": "act"}, "rbac": {"writes": "never"}}, "will be refused", id="act-and-never"),
    ],
)
def test_notes_say_what_the_mode_means_with_these_roles(values: Mapping[str, Any], told: str) -> None:
    assert told in render(values).notes


@pytest.mark.parametrize(
    ("values", "warned"),
    [
        pytest.param({}, True, id="the-releases-own"),
        pytest.param({"rbac": {"namespaces": ["test"]}}, True, id="another"),
        pytest.param({"rbac": {"namespaces": ["test", SHIPPED_PLACE]}}, False, id="where-the-rules-look"),
        pytest.param({"rbac": {"clusterWide": True}}, False, id="everywhere"),
        pytest.param({"rules": {"existingConfigMap": "mine"}}, False, id="rules-we-cannot-read"),
    ],
)
def test_notes_warn_where_the_rules_look_elsewhere(values: Mapping[str, Any], warned: bool) -> None:
    assert (f"WARNING: the rules are about {SHIPPED_PLACE}" in render(values).notes) is warned


def test_notes_keep_the_namespaces_there_are_in_what_they_propose() -> None:
    assert f"'rbac.namespaces={{test,{SHIPPED_PLACE}}}'" in render({"rbac": {"namespaces": ["test"]}}).notes


def test_notes_tell_where_the_api_token_is() -> None:
    named = {"secretFiles": {"api_tokens": {"secret": "keys", "key": "api"}}}

    made = render().notes
    assert "exec deploy/remediator -- cat /var/lib/remediator/api-token" in made
    assert render().settings["data_dir"] == "/var/lib/remediator"
    assert "those of secret keys, key api" in render(named).notes
    assert "cat " not in render(named).notes


@pytest.mark.parametrize("mode", ["observe", "act"])
def test_the_command_in_the_notes_prints_the_roles_of_this_release(mode: str) -> None:
    rendered = render({"settings": {"mode": mode}, "serviceAccount": {"name": "robot"}})
    command = next(line for line in rendered.notes.splitlines() if "remediator rbac" in line)
    _, _, folder, *options = shlex.split(command.partition(" | ")[0])

    printed = CliRunner().invoke(rbac.command, [str(CHART.parent / folder), *options])

    assert printed.exit_code == 0, printed.output
    assert "name: robot\n  namespace: ops" in printed.output
    assert ("name: robot-write" in printed.output) is (mode == "act")


def test_the_readmes_lines_make_what_the_chart_waits_for() -> None:
    lines = README.partition("On Kubernetes")[2].partition("```\n")[2].partition("```")[0].replace("\\\n", " ")
    command = next(shlex.split(line) for line in lines.splitlines() if "create secret" in line)
    secret, literal = command[command.index("generic") + 1], command[-1].removeprefix("--from-literal=")
    key, _, value = literal.partition("=")

    pod = render().pod
    (volume,) = (each for each in pod["volumes"] if each["name"] == "secrets")
    (source,) = volume["projected"]["sources"]
    assert source["secret"] == {"name": secret, "items": [{"key": key, "path": "webhooks/tokens"}]}
    assert json.loads(value).keys() == {"alertmanager"}
    assert f"rbac.namespaces={{{SHIPPED_PLACE}}}" in lines
    pushed = re.findall(r"docker push (\S+):(\S+)", lines)
    assert pushed == [(re.findall(r"image.repository=(\S+)", lines)[0], pod["containers"][0]["image"].split(":")[1])]
