"""The roles that rules need, and the chart's roles measured against them."""

from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from remediator.cli.rbac import command
from remediator.domain.plan import Permission
from remediator.rules.loader import load_rules
from remediator.rules.permissions import ANY_NAMESPACE, permissions_of
from tests.helm.chart import render
from tests.rules.folder import RULE, write_rules

SHIPPED = Path(__file__).parents[2] / "rules"
PINNED = RULE.replace('alertname="ServiceDown"', 'alertname="ServiceDown", namespace="live"')


@pytest.mark.parametrize(
    ("rule", "namespace"),
    [
        pytest.param(PINNED, "live", id="pinned-by-the-matcher"),
        pytest.param(RULE, ANY_NAMESPACE, id="the-alert-says"),
        pytest.param(RULE.replace("${{ alert.labels.namespace }}", "shop"), "shop", id="written-out"),
    ],
)
def test_the_namespace_is_known_where_the_rule_pins_it(tmp_path: Path, rule: str, namespace: str) -> None:
    (need,) = permissions_of(load_rules(write_rules(tmp_path, service_down=rule)).rulebook)

    assert need.namespace == namespace


def test_a_rule_needs_what_its_steps_declare(tmp_path: Path) -> None:
    (need,) = permissions_of(load_rules(write_rules(tmp_path, service_down=PINNED)).rulebook)

    assert {each for each in need.permissions if each.writes} == {
        Permission("create", "pods/eviction"),
        Permission("delete", "pods"),
    }
    assert Permission("list", "pods") in need.permissions


def test_whoever_deletes_a_pod_by_its_name_may_look_up_what_controls_it(tmp_path: Path) -> None:
    by_pod = PINNED.replace("deployment: ${{ alert.labels.deployment }}", "pod: ${{ alert.labels.pod }}")

    (need,) = permissions_of(load_rules(write_rules(tmp_path, service_down=by_pod)).rulebook)

    owners = ("deployments", "statefulsets", "daemonsets", "replicasets")
    wanted = {Permission("get", plural, "apps") for plural in owners} | {Permission("list", "replicasets", "apps")}
    assert wanted <= need.permissions


def test_roles_for_reading_and_writing_are_apart(tmp_path: Path) -> None:
    printed = CliRunner().invoke(command, [str(write_rules(tmp_path, service_down=PINNED))])

    manifests = list(yaml.safe_load_all(printed.output))
    names = [(each["kind"], each["metadata"]["name"], each["metadata"]["namespace"]) for each in manifests]
    assert names == [
        ("Role", "remediator-read", "live"),
        ("RoleBinding", "remediator-read", "live"),
        ("Role", "remediator-write", "live"),
        ("RoleBinding", "remediator-write", "live"),
    ]
    assert {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]} in manifests[2]["rules"]


def test_an_unknown_namespace_makes_a_cluster_role_until_it_is_named(tmp_path: Path) -> None:
    folder = str(write_rules(tmp_path, service_down=RULE))

    wide = yaml.safe_load_all(CliRunner().invoke(command, [folder, "--reads-only"]).output)
    named = yaml.safe_load_all(CliRunner().invoke(command, [folder, "--reads-only", "--namespace", "shop"]).output)

    assert [each["kind"] for each in wide] == ["ClusterRole", "ClusterRoleBinding"]
    assert [each["kind"] for each in named] == ["Role", "RoleBinding"]


def test_half_a_set_of_rules_makes_no_role(tmp_path: Path) -> None:
    answer = CliRunner().invoke(
        command, [str(write_rules(tmp_path, service_down=RULE.replace("pod_status", "pod_statsu")))]
    )

    assert answer.exit_code == 3
    assert "remediator check" in answer.output


def test_the_charts_role_allows_what_the_shipped_rules_need_and_no_more() -> None:
    rules = render({"settings": {"mode": "act"}}).only("Role")["rules"]
    granted = {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }

    needs = permissions_of(load_rules(SHIPPED).rulebook)

    assert granted == {(each.api_group, each.resource, each.verb) for need in needs for each in need.permissions}
