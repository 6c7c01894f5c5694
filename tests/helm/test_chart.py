"""What the chart promises, read from what Helm renders."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import helm_python
import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from remediator.settings import Settings
from tests.helm.chart import CHART, render

RULES = CHART.parent / "rules"
EXTERNAL = {"database": {"url": {"secret": "postgres", "key": "dsn"}}}
SEVERAL = EXTERNAL | {"replicas": 3}
LINKS = {"secretFiles": {"link_secret": {"secret": "keys", "key": "links"}}}
EVERY_SWITCH = {
    "settings": {
        "mode": "act",
        "public_url": "https://remediator.example.com",
        "prometheus": {"main": {"url": "http://prometheus:9090"}},
        "sources": {"alertmanager": {"peers": ["http://alertmanager-0.alertmanager:9093"], "every_seconds": 15}},
        "smtp": {"host": "mail", "sender": "ops@example.com"},
        "engine": {"workers": 16},
        "retention": {"raw_days": 30, "decisions_days": "forever"},
        "last_resort": {"channels": ["slack"], "grace_seconds": 60},
    },
    "secretFiles": {"prometheus/main/token": {"secret": "keys", "key": "prometheus"}},
    "rbac": {"namespaces": ["live", "test"]},
    "image": {"digest": f"sha256:{'0' * 64}", "pullSecrets": ["registry"]},
    "tolerations": [{"key": "ops", "operator": "Exists"}],
    "networkPolicy": {
        "create": True,
        "from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "alertmanager"}}}],
        "egress": [{"ports": [{"port": 443}]}],
    },
    "serviceMonitor": {"create": True, "labels": {"release": "prometheus"}},
    "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/etc/ssl/ours/ca.pem"}],
    "extraVolumes": [{"name": "ca", "configMap": {"name": "our-ca"}}],
    "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ssl/ours", "readOnly": True}],
    "podLabels": {"team": "ops", "app.kubernetes.io/version": "ours"},
}

VARIANTS = [
    pytest.param({}, id="as-shipped"),
    pytest.param(EVERY_SWITCH, id="every-switch"),
    pytest.param({"rbac": {"clusterWide": True}}, id="cluster-wide"),
    pytest.param(SEVERAL, id="three-replicas"),
    pytest.param(SEVERAL | {"podDisruptionBudget": {"maxUnavailable": "50%"}}, id="a-share-of-the-replicas"),
    pytest.param(
        {"rbac": {"extraRules": [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list"]}]}}, id="more-rights"
    ),
    pytest.param({"rules": {"existingConfigMap": "mine"}}, id="own-rules"),
]


@pytest.mark.parametrize("values", VARIANTS)
@pytest.mark.parametrize("version", ["1.33", "1.36"])
def test_every_object_is_valid_for_kubernetes(values: Mapping[str, Any], version: str) -> None:
    for each in render(values).objects:
        if each["kind"] != "ServiceMonitor":  # the Prometheus operator's
            kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        pytest.param({"replcas": 2}, "replcas", id="unknown-key"),
        pytest.param({"settings": {"mode": "yolo"}}, "mode", id="unknown-mode"),
        pytest.param({"settings": {"database_url": "postgres://u:p@h/d"}}, "database_url", id="secret-in-plain-values"),
        pytest.param({"secretFiles": {"../etc/passwd": {"secret": "a", "key": "b"}}}, "secretFiles", id="path-upwards"),
        pytest.param({"secretFiles": {"link_secret": {"secret": "a"}}}, "key", id="half-a-reference"),
        pytest.param({"rules": {"files": {"../a.yaml": "x"}}}, "files", id="rule-path-upwards"),
        pytest.param({"rbac": {"writes": True}}, "writes", id="wrong-type"),
        pytest.param({"service": {"port": 0}}, "port", id="port-zero"),
        pytest.param({"nameOverride": "A_b"}, "nameOverride", id="no-name"),
        pytest.param({"fullnameOverride": "a.b"}, "fullnameOverride", id="a-dot-in-a-services-name"),
        pytest.param({"fullnameOverride": "1st"}, "fullnameOverride", id="a-digit-before-a-services-name"),
        pytest.param(
            {"podLabels": {"app.kubernetes.io/name": "mine"}}, "kubernetes.io/name", id="a-label-of-the-selector"
        ),
        pytest.param(
            {"extraEnv": [{"name": "REMEDIATOR_MODE", "value": "act"}]}, "extraEnv", id="a-mode-past-the-roles"
        ),
        pytest.param({"extraVolumes": [{"name": "data", "emptyDir": {}}]}, "extraVolumes", id="a-volume-of-ours"),
        pytest.param({"rbac": {"extraRules": [{"verbs": ["list"]}]}}, "extraRules", id="half-a-rule"),
        pytest.param(
            {"settings": {"sources": {"am": {"peers": ["http://u:p@alertmanager"]}}}}, "peers", id="login-in-a-peer"
        ),
    ],
)
def test_wrong_values_are_refused(values: Mapping[str, Any], complaint: str) -> None:
    with pytest.raises(helm_python.HelmError, match=complaint):
        render(values)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        pytest.param({"replicas": 2}, "database.url", id="replicas-on-the-embedded-database"),
        pytest.param({"rules": {"shipped": False}}, "no rules", id="no-rules"),
    ],
)
def test_what_could_not_work_is_refused_at_install(values: Mapping[str, Any], complaint: str) -> None:
    with pytest.raises(helm_python.HelmError, match=complaint):
        render(values)


@pytest.mark.parametrize("release", ["a.b", "1st", "123", "true"])
def test_whatever_the_release_is_called_its_objects_have_names_that_kubernetes_takes(release: str) -> None:
    rendered = render(release=release)

    for each in rendered.objects:
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", each["metadata"]["name"])
    service, deployment = rendered.only("Service"), rendered.only("Deployment")
    assert service["spec"]["selector"]["app.kubernetes.io/instance"] == release
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"]


@pytest.mark.parametrize("missing", ["url", "embedded"])
def test_a_database_key_that_is_taken_away_means_the_embedded_one(missing: str) -> None:
    assert render({"database": {missing: None}}).only("PersistentVolumeClaim")


def test_optional_parts_may_be_taken_away() -> None:
    parts = ("podDisruptionBudget", "networkPolicy", "serviceMonitor", "preStopSeconds", "extraEnv", "podLabels")

    assert render(SEVERAL | dict.fromkeys(parts)).pod["terminationGracePeriodSeconds"] == 60


def test_lint_finds_nothing_above_information() -> None:
    report = helm_python.lint(CHART, strict=True)

    assert [message for message in report["messages"] if message["severity"] > 1] == []


def test_the_pod_is_locked_down() -> None:
    pod = render().pod
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsUser"] == 65532
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_names_of_services_are_no_settings() -> None:
    """For a Service called remediator, a pod gets REMEDIATOR_PORT=tcp://...: no port, so the daemon would not start."""
    assert render().pod["enableServiceLinks"] is False


def test_the_probes_ask_what_the_daemon_answers() -> None:
    (container,) = render().pod["containers"]

    paths = {probe: container[probe]["httpGet"]["path"] for probe in container if probe.endswith("Probe")}
    assert paths == {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}


@pytest.mark.parametrize("values", VARIANTS)
def test_the_daemon_accepts_the_settings(values: Mapping[str, Any]) -> None:
    settings = Settings(**render(values).settings)

    assert settings.host == "0.0.0.0"  # noqa: S104
    assert settings.kubernetes.enabled
    assert settings.mode == values.get("settings", {}).get("mode", "observe")


def test_every_setting_in_the_schema_is_one_of_the_daemons() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())

    assert set(schema["properties"]["settings"]["properties"]) <= set(Settings.model_fields)


def test_a_secret_is_only_named() -> None:
    pod = render(EXTERNAL | LINKS).pod
    (container,) = pod["containers"]

    (secrets,) = (volume for volume in pod["volumes"] if volume["name"] == "secrets")
    assert container["env"][-1]["valueFrom"]["secretKeyRef"] == {"name": "postgres", "key": "dsn"}
    assert {"secret": {"name": "keys", "items": [{"key": "links", "path": "link_secret"}]}} in secrets["projected"][
        "sources"
    ]


def test_the_embedded_database_keeps_its_volume() -> None:
    rendered = render()

    claim = rendered.only("PersistentVolumeClaim")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert {"name": "data", "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}} in rendered.pod[
        "volumes"
    ]
    assert rendered.only("Deployment")["spec"]["strategy"] == {"type": "Recreate"}


def test_a_database_elsewhere_needs_no_volume() -> None:
    assert render(EXTERNAL).of("PersistentVolumeClaim") == []


def test_a_database_named_by_a_secret_file_is_one_elsewhere() -> None:
    named = {"secretFiles": {"database_url": {"secret": "postgres", "key": "dsn"}}}

    assert render(named | {"replicas": 2}).of("PersistentVolumeClaim") == []


def test_several_replicas_keep_out_of_each_others_way() -> None:
    rendered = render(SEVERAL)

    selector = rendered.only("Deployment")["spec"]["selector"]
    spread = rendered.pod["topologySpreadConstraints"]
    assert rendered.only("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert [each["topologyKey"] for each in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert [each["labelSelector"] for each in spread] == [selector, selector]


def test_one_replica_has_nothing_to_spread_and_keeps_no_node_from_being_drained() -> None:
    rendered = render(EXTERNAL)

    assert rendered.of("PodDisruptionBudget") == []
    assert "topologySpreadConstraints" not in rendered.pod


def test_the_socket_closes_after_the_endpoints_are_gone() -> None:
    pod = render(EXTERNAL | {"preStopSeconds": 7}).pod

    assert pod["containers"][0]["lifecycle"]["preStop"] == {"sleep": {"seconds": 7}}
    assert pod["terminationGracePeriodSeconds"] == 67


def test_nobody_waits_where_no_other_replica_could_take_over() -> None:
    assert "lifecycle" not in render().pod["containers"][0]


def test_what_is_optional_is_off() -> None:
    assert {each["kind"] for each in render(SEVERAL).objects}.isdisjoint({"NetworkPolicy", "ServiceMonitor"})


def test_the_network_policy_lets_in_who_is_named_and_out_to_what_is_named_and_dns() -> None:
    spec = render(EVERY_SWITCH).only("NetworkPolicy")["spec"]

    (ingress,) = spec["ingress"]
    assert ingress["ports"] == [{"port": 8080, "protocol": "TCP"}]
    assert ingress["from"] == EVERY_SWITCH["networkPolicy"]["from"]
    assert [port["port"] for rule in spec["egress"] for port in rule["ports"]] == [53, 53, 443]


def test_the_service_monitor_finds_the_service() -> None:
    rendered = render(EVERY_SWITCH)

    monitor, service = rendered.only("ServiceMonitor"), rendered.only("Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_rule_files_keep_their_folders() -> None:
    rendered = render({"rules": {"files": {"oncall/people.yaml": "people: {}\n"}}})

    (volume,) = (each for each in rendered.pod["volumes"] if each["name"] == "rules")
    keys = {item["path"]: item["key"] for item in volume["configMap"]["items"]}
    data = rendered.only("ConfigMap", ending="-rules")["data"]
    assert data[keys["oncall/people.yaml"]] == "people: {}\n"
    assert set(keys.values()) == set(data)


def test_the_shipped_rules_are_the_repositorys() -> None:
    rendered = render()

    (volume,) = (each for each in rendered.pod["volumes"] if each["name"] == "rules")
    data = rendered.only("ConfigMap", ending="-rules")["data"]
    shipped = {item["path"]: data[item["key"]] for item in volume["configMap"]["items"]}
    assert shipped == {path.relative_to(RULES).as_posix(): path.read_text() for path in _rule_files()}


@pytest.mark.parametrize(
    ("values", "may_write"),
    [
        pytest.param({}, False, id="observe"),
        pytest.param({"settings": {"mode": "suggest"}}, True, id="suggest"),
        pytest.param({"settings": {"mode": "act"}}, True, id="act"),
        pytest.param({"rbac": {"writes": "always"}}, True, id="rehearses-in-observe"),
        pytest.param({"settings": {"mode": "act"}, "rbac": {"writes": "never"}}, False, id="never"),
    ],
)
def test_write_permissions_follow_the_mode(values: Mapping[str, Any], may_write: bool) -> None:
    verbs = {verb for rule in render(values).only("Role")["rules"] for verb in rule["verbs"]}

    assert (verbs - {"get", "list", "watch"} != set()) is may_write


def test_more_rules_are_added_to_the_role() -> None:
    more = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list"]}

    assert render({"rbac": {"extraRules": [more]}}).only("Role")["rules"][-1] == more


def test_each_namespace_gets_its_own_role() -> None:
    rendered = render(EVERY_SWITCH)

    assert [role["metadata"]["namespace"] for role in rendered.of("Role")] == ["live", "test"]
    assert {subject["namespace"] for b in rendered.of("RoleBinding") for subject in b["subjects"]} == {"ops"}


def test_cluster_wide_roles_carry_the_namespace_in_their_name() -> None:
    rendered = render({"rbac": {"clusterWide": True}})

    assert rendered.of("Role") == []
    assert rendered.only("ClusterRoleBinding")["roleRef"]["name"] == "ops:remediator"
    assert rendered.only("ClusterRole")["metadata"]["name"] == "ops:remediator"


def _rule_files() -> list[Path]:
    return sorted(RULES.rglob("*.yaml"))
