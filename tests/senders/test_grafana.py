"""What is said of Grafana's policies and contact points, as far as its alertmanager API tells of them."""

import json
from typing import Any

import pytest
import yaml

from remediator.language.document import Problem, Severity
from remediator.language.foreign_yaml import load_foreign
from remediator.senders.contact_points import SIGNATURE_HEADER, TIMESTAMP_HEADER
from remediator.senders.lint import lint_grafana
from remediator.senders.recommended import recommended_for_grafana
from remediator.settings import GrafanaSignature
from remediator.web import auth

TIMING = {"group_wait": "5s", "group_interval": "1m", "repeat_interval": "4h"}
SIGNED = {"header": SIGNATURE_HEADER, "timestampHeader": TIMESTAMP_HEADER}
URL = "https://remediator.example.com/webhooks/grafana"


def webhook(**settings: object) -> dict[str, object]:
    return {"type": "webhook", "disableResolveMessage": False, "settings": settings}


def told(
    *integrations: object, route: dict[str, object] | None = None, timestamp_headers: tuple[str, ...] = ()
) -> tuple[Problem, ...]:
    problems, _ = lint_grafana(document(*integrations, route=route), "remediator", timestamp_headers=timestamp_headers)
    return problems


def document(*integrations: object, route: dict[str, object] | None = None) -> Any:
    receivers = [{"name": "remediator", "grafana_managed_receiver_configs": list(integrations)}]
    return load_foreign(
        json.dumps({"route": route or {"receiver": "remediator", **TIMING}, "receivers": receivers}), "g"
    )


@pytest.mark.parametrize(
    "integration",
    [
        pytest.param(webhook(maxAlerts="0"), id="without a URL"),
        pytest.param(webhook(url=URL), id="with its URL"),
        pytest.param(webhook(url=f"https://proxy/prefix{URL[30:]}", maxAlerts=0), id="behind a proxy"),
        pytest.param(webhook(hmacConfig=SIGNED), id="signed"),
        pytest.param(webhook(hmacConfig={"timestampHeader": TIMESTAMP_HEADER.lower()}), id="headers have no case"),
        pytest.param(webhook(payload={"template": "", "vars": {}}), id="an empty payload is none"),
    ],
)
def test_what_is_sound_is_left_alone(integration: object) -> None:
    beside = {"type": "email", "disableResolveMessage": True, "settings": {"addresses": "a@example.com"}}
    elsewhere = webhook(url="https://chat.example.com/hook", maxAlerts="3") if "url" in str(integration) else beside

    assert told(integration, beside, elsewhere) == ()


@pytest.mark.parametrize(
    ("integrations", "complaint"),
    [
        pytest.param([], "the contact point 'remediator' has no webhook (it has: nothing)", id="empty"),
        pytest.param(
            [{"type": "email", "settings": {}}, {"type": "slack"}],
            "the contact point 'remediator' has no webhook (it has: 'email', 'slack')",
            id="no webhook",
        ),
        pytest.param(
            [{**webhook(), "disableResolveMessage": True}], "resolved alerts are not sent", id="no end is told"
        ),
        pytest.param([webhook(maxAlerts="10")], "all but '10' alerts of a group are cut off", id="truncation"),
        pytest.param(
            [webhook(payload={"template": "{{ .x }}"})],
            "a custom payload cannot be read: every delivery is answered 400",
            id="custom payload",
        ),
        pytest.param(
            [webhook(hmacConfig={"header": SIGNATURE_HEADER})], "its signature has no timestamp", id="no timestamp"
        ),
        pytest.param([webhook(hmacConfig={})], "its signature has no timestamp", id="nothing but a secret"),
        pytest.param(
            [webhook(hmacConfig={**SIGNED, "header": "X-Mine"})], "its signature comes in 'X-Mine'", id="header"
        ),
        pytest.param(
            [webhook(url="https://remediator/webhooks/alertmanager")],
            "the path of its URL is '/webhooks/alertmanager', and must end in /webhooks/grafana",
            id="the path of another kind",
        ),
        pytest.param([webhook(url="https://remediator/hook")], "the path of its URL is '/hook'", id="another path"),
    ],
)
def test_each_slip_of_a_contact_point_is_an_error(integrations: list[object], complaint: str) -> None:
    [problem] = told(*integrations)

    assert problem.severity is Severity.ERROR
    assert problem.message.startswith(complaint)
    assert problem.hint


def test_the_timestamp_must_come_where_the_settings_look_for_it() -> None:
    integration = webhook(hmacConfig={**SIGNED, "timestampHeader": "X-Mine"})

    [problem] = told(integration, timestamp_headers=(TIMESTAMP_HEADER,))

    assert f"its timestamp comes in 'X-Mine', and the settings look for it in {TIMESTAMP_HEADER}" in problem.message
    assert told(integration, timestamp_headers=("x-mine",)) == ()
    assert told(integration, timestamp_headers=()) == ()


def test_the_headers_are_those_that_the_daemon_looks_at() -> None:
    assert auth.SIGNATURE_HEADER == SIGNATURE_HEADER
    assert GrafanaSignature.model_fields["timestamp_header"].default == TIMESTAMP_HEADER


def test_another_contact_point_that_posts_to_us_is_reviewed_too() -> None:
    receivers = [
        {"name": "remediator", "grafana_managed_receiver_configs": [webhook(url=URL)]},
        {"name": "second", "grafana_managed_receiver_configs": [webhook(url=URL, maxAlerts="3")]},
    ]
    text = json.dumps({"route": {"receiver": "remediator", **TIMING}, "receivers": receivers})

    [problem], _ = lint_grafana(load_foreign(text, "g"), "remediator")

    assert "all but '3' alerts" in problem.message


def test_the_timers_of_a_policy_are_read() -> None:
    complaints = told(webhook(), route={"receiver": "remediator", **TIMING, "group_interval": "5m"})

    assert [problem.message.partition(",")[0] for problem in complaints] == ["group_interval is 5m"]


def test_the_tree_that_grafana_keeps_for_itself_takes_nothing_from_anybody() -> None:
    own = {
        "receiver": "grafana-default-email",
        "object_matchers": [["__grafana_autogenerated__", "=", "true"]],
        "routes": [
            {"receiver": "remediator", "object_matchers": [["__grafana_receiver__", "=", "remediator"]]},
            {"receiver": "team-a", "object_matchers": [["__grafana_receiver__", "=", "team-a"]]},
        ],
    }
    without_us = {**own, "routes": own["routes"][1:]}  # type: ignore[index]
    ours = {"receiver": "remediator", "continue": True}

    for each in (own, without_us):
        assert told(webhook(), route={"receiver": "grafana-default-email", **TIMING, "routes": [each, ours]}) == ()


def test_an_earlier_policy_that_takes_alerts_is_told_with_its_object_matchers() -> None:
    routes = [
        {"receiver": "slack", "object_matchers": [["severity", "=", "critical"]]},
        {"receiver": "remediator", "continue": True},
    ]

    [problem] = told(webhook(), route={"receiver": "slack", **TIMING, "routes": routes})

    assert problem.severity is Severity.WARNING
    assert problem.message.startswith('route.routes[0] takes alerts that are {severity="critical"}')


@pytest.mark.parametrize(
    ("integration", "untold"),
    [
        pytest.param(webhook(), "login, signature and URL", id="nothing"),
        pytest.param(webhook(url=URL, hmacConfig=SIGNED), "login", id="all but its secrets"),
    ],
)
def test_what_its_api_does_not_tell_is_said(integration: object, untold: str) -> None:
    _, unchecked = lint_grafana(document(integration), "remediator")
    nothing, everything = lint_grafana(load_foreign("{}", "g"), "remediator")

    assert unchecked == (f"the contact point's {untold}: Grafana keeps those to its provisioning API",)
    assert nothing == ()
    assert "everything" in everything[0]


def test_what_we_recommend_is_beyond_reproach() -> None:
    text = recommended_for_grafana("remediator", "https://remediator.example.com", timestamp_header="X-Stamp")
    provisioned = yaml.safe_load(text)
    [point], [policy] = provisioned["contactPoints"], provisioned["policies"]
    receivers = [{"name": point["name"], "grafana_managed_receiver_configs": point["receivers"]}]
    status = json.dumps({"route": policy, "receivers": receivers})

    problems, _ = lint_grafana(load_foreign(status, "g"), "remediator", timestamp_headers=("X-Stamp",))

    assert problems == ()
    assert point["receivers"][0]["settings"]["url"] == URL
    signed = yaml.safe_load(text.replace("# hmacConfig", "hmacConfig").replace("#   ", "  "))
    assert signed["contactPoints"][0]["receivers"][0]["settings"]["hmacConfig"] == {
        "secret": "$REMEDIATOR_SECRET",
        "header": SIGNATURE_HEADER,
        "timestampHeader": "X-Stamp",
    }
