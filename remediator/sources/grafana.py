"""Grafana unified alerting's webhook, payload version "1" (facts: intake 1.2)."""

from collections.abc import Mapping
from dataclasses import replace

from remediator.domain.alert import Alert, Delivery
from remediator.domain.errors import BadPayload
from remediator.domain.ids import SourceName
from remediator.sources import Source
from remediator.sources._payload import read_alerts, read_envelope

_REASON = "grafana_state_reason"
"""Survives on a resolve that is no recovery: NoData, Error, MissingSeries, Paused, RuleDeleted, Updated."""


class Grafana(Source):
    """Alertmanager's shape with measured values, and resolves that are not recoveries."""

    def parse(self, body: bytes, headers: Mapping[str, str], source: SourceName) -> Delivery:
        envelope = read_envelope(body)
        if envelope.version != "1":
            raise BadPayload(
                f"version {envelope.version!r} is not Grafana unified alerting's version 1: "
                "Alertmanager sends to /webhooks/alertmanager; legacy Grafana alerting (before 9) is not supported"
            )
        alerts, rejected = read_alerts(envelope.alerts, source)
        return Delivery(source, body, tuple(map(_as_grafana_means, alerts)), rejected, truncated=envelope.truncated)


def _as_grafana_means(alert: Alert) -> Alert:
    went_away = not alert.is_firing and alert.annotations.get(_REASON, "") != ""
    return replace(alert, recovered=not went_away)
