"""What senders really send, and what they must not be able to break."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.domain.alert import Delivery
from remediator.domain.errors import BadPayload
from remediator.domain.ids import SourceName
from remediator.sources.alertmanager import Alertmanager
from remediator.sources.grafana import Grafana

ALERT: dict[str, Any] = {
    "status": "firing",
    "labels": {"alertname": "ServiceDown", "namespace": "prod"},
    "annotations": {"summary": "it is down"},
    "startsAt": "2026-03-01T12:00:00.123456789+01:00",
    "endsAt": "0001-01-01T00:00:00Z",
    "generatorURL": "",
    "fingerprint": "00ab12cd34ef5678",
}


def body(*alerts: Any, version: str = "4", **more: object) -> bytes:
    return json.dumps({"version": version, "alerts": list(alerts), **more}).encode()


def parse(raw: bytes) -> Delivery:
    return Alertmanager().parse(raw, {}, SourceName("am"))


def test_an_alert_is_read_to_the_microsecond_and_year_1_as_no_end() -> None:
    [alert] = parse(body(ALERT)).alerts

    assert alert.starts_at == datetime(2026, 3, 1, 11, 0, 0, 123457, tzinfo=UTC)
    assert alert.ends_at is None
    assert (alert.fingerprint, alert.name, alert.is_firing) == ("00ab12cd34ef5678", "ServiceDown", True)


def test_bytes_that_are_no_text_are_replaced_wherever_they_are() -> None:
    raw = body(ALERT, ALERT).replace(b"ServiceDown", b"Service\xffDown", 1)

    delivery = parse(raw)

    assert [alert.name for alert in delivery.alerts] == ["Service\ufffdDown", "ServiceDown"]
    assert delivery.rejected == ()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"annotations": None}, id="null annotations"),
        pytest.param({"generatorURL": None}, id="null generator"),
        pytest.param({"endsAt": None}, id="null end"),
        pytest.param({"fingerprint": None}, id="null fingerprint"),
        pytest.param({"values": None}, id="null values"),
        pytest.param({"routeLabels": {"x": [1]}, "new": {}}, id="unknown fields"),
        pytest.param({"labels": {"alertname": "a\x00b"}}, id="NUL"),
        pytest.param({"labels": {"alertname": "a\ud800b\\ud800"}}, id="half a character"),
        pytest.param({"labels": {"ünï-köde.label": "x" * 100_000}}, id="UTF-8 name, huge value"),
    ],
)
def test_odd_alerts_are_taken(change: dict[str, Any]) -> None:
    delivery = parse(body({**ALERT, **change}))

    assert (len(delivery.alerts), delivery.rejected) == (1, ())
    json.dumps([dict(alert.labels) for alert in delivery.alerts]).encode("utf-8")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param({"labels": None}, "labels", id="null labels"),
        pytest.param({"labels": {}}, "labels", id="no labels"),
        pytest.param({"labels": {"a": 1}}, "Expected `str`", id="a label that is a number"),
        pytest.param({"status": "pending"}, "status", id="an unknown status"),
        pytest.param({"startsAt": "yesterday"}, "yesterday", id="no moment"),
        pytest.param({"startsAt": "2026-03-01T12:00:00"}, "time zone", id="no time zone"),
        pytest.param({"startsAt": "0001-01-01T00:00:00Z"}, "year 1", id="a start in year 1"),
    ],
)
def test_a_bad_alert_is_put_aside_and_its_neighbours_proceed(change: dict[str, Any], why: str) -> None:
    delivery = parse(body(ALERT, {**ALERT, **change}, ALERT))

    [rejected] = delivery.rejected
    assert len(delivery.alerts) == 2
    assert rejected.position == 1
    assert why in rejected.reason


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        pytest.param(b"", "not a webhook payload", id="empty"),
        pytest.param(b'{"version": "4"', "not a webhook payload", id="cut off"),
        pytest.param(b"[" * 100_000, "not a webhook payload", id="deep"),
        pytest.param(b'{"version": "4"}', "no list `alerts`", id="no alerts"),
        pytest.param(body(ALERT, version="1"), "/webhooks/grafana", id="Grafana's version"),
        pytest.param(b'{"ruleName": "x", "alerts": []}', "version", id="legacy Grafana"),
    ],
)
def test_a_body_that_cannot_be_read_says_why(raw: bytes, why: str) -> None:
    with pytest.raises(BadPayload, match=why):
        parse(raw)


def test_without_a_fingerprint_the_same_labels_are_the_same_alert() -> None:
    one = {**ALERT, "fingerprint": "", "labels": {"a": "1", "b": "2"}}
    same = {**ALERT, "fingerprint": "not hex!", "labels": {"b": "2", "a": "1"}}
    other = {**ALERT, "fingerprint": "", "labels": {"a": "12", "b": ""}}

    first, second, third = parse(body(one, same, other)).alerts

    assert first.fingerprint == second.fingerprint != third.fingerprint


def test_what_the_sender_left_out_is_counted() -> None:
    assert [parse(body(ALERT, truncatedAlerts=told)).truncated for told in (7, -1, 1 << 40)] == [7, 0, (1 << 31) - 1]


@pytest.mark.parametrize(("reason", "recovered"), [("", True), ("NoData", False), ("Error", False), ("Paused", False)])
def test_a_grafana_resolve_with_a_reason_is_no_recovery(reason: str, recovered: bool) -> None:
    annotations = {"grafana_state_reason": reason} if reason else {}
    resolved = {**ALERT, "status": "resolved", "annotations": annotations, "values": {"A": -1, "B": None}}

    [alert] = Grafana().parse(body(resolved, version="1"), {}, SourceName("grafana")).alerts

    assert alert.recovered is recovered
    assert alert.values == {"A": -1, "B": None}


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
PARSERS: list[Callable[[bytes], Delivery]] = [parse, lambda raw: Grafana().parse(raw, {}, SourceName("g"))]


@pytest.mark.parametrize("parser", PARSERS, ids=["alertmanager", "grafana"])
@given(
    raw=st.binary()
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.lists(JSON).map(lambda alerts: body(*alerts))
    | st.dictionaries(st.sampled_from(sorted(ALERT)), JSON).map(lambda change: body({**ALERT, **change}))
)
def test_nothing_that_can_be_sent_raises_anything_but_bad_payload(
    parser: Callable[[bytes], Delivery], raw: bytes
) -> None:
    try:
        parser(raw)
    except BadPayload:
        return
