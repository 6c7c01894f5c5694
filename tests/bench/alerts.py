"""Webhook bodies as Alertmanager writes them: about 0.9 kB an alert, eight labels, made fast enough not to be measured.

An alert is a number: the same number is the same alert again, a new number a new one.
"""

import json
from collections.abc import Iterable

VARIETY = 200
"""So many alert names, deployments and namespaces; the number chooses among them."""

STARTED = "2026-01-01T08:00:00.123456789Z"
"""The same in every process: an alert with a later start would be one that fires anew, not one told again."""

_NUMBER = "NUMBER"


def body(numbers: Iterable[int]) -> bytes:
    """One delivery that tells of these alerts."""
    return _HEAD + b",".join([_ALERTS[number % VARIETY] % (number, number) for number in numbers]) + _TAIL


def pod(number: int) -> str:
    return f"checkout-{number % VARIETY}-{number}"


def _alert(kind: int) -> bytes:
    """With two places left for the number: the pod's name and the fingerprint."""
    labels = {
        "alertname": f"Bench{kind:04d}",
        "cluster": "frankfurt-1",
        "namespace": f"team-{kind % 10}",
        "deployment": f"checkout-{kind}",
        "pod": f"checkout-{kind}-{_NUMBER}",
        "job": "kubernetes-service-endpoints",
        "severity": "critical" if kind % 3 == 0 else "warning",
        "prometheus": "monitoring/kube-prometheus-stack",
    }
    annotations = {
        "summary": f"Pod checkout-{kind} of team {kind % 10} answers too slowly and keeps missing its objective.",
        "description": "The slowest hundredth of the requests has taken longer than two seconds for ten minutes. " * 2,
        "runbook_url": f"https://runbooks.example.com/checkout/latency#Bench{kind:04d}",
    }
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": annotations,
        "startsAt": STARTED,
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "https://prometheus.example.com/graph?g0.expr=histogram_quantile&g0.tab=1",
        "fingerprint": "FINGERPRINT",
    }
    text = json.dumps(alert, separators=(",", ":")).replace(_NUMBER, "%d").replace("FINGERPRINT", "%016x")
    return text.encode()


def _envelope() -> tuple[bytes, bytes]:
    """What stands before the alerts, and what stands after them."""
    envelope = {
        "receiver": "remediator",
        "status": "firing",
        "alerts": [],
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "https://alertmanager.example.com",
        "version": "4",
        "groupKey": '{}:{alertname="Bench"}',
        "truncatedAlerts": 0,
    }
    head, _, tail = json.dumps(envelope).encode().partition(b"[]")
    return head + b"[", b"]" + tail


_ALERTS = [_alert(kind) for kind in range(VARIETY)]
_HEAD, _TAIL = _envelope()
