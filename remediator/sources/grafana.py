"""Grafana unified alerting's webhook, payload version "1" (facts: intake 1.2)."""

from collections.abc import Mapping

import msgspec

from remediator.domain.alert import Alert, Delivery
from remediator.domain.ids import SourceName
from remediator.sources import Source
from remediator.sources._payload import read_delivery

_REASON = "grafana_state_reason"
"""Survives on a resolve that is no recovery: NoData, Error, MissingSeries, Paused, RuleDeleted, Updated."""


class Grafana(Source):
    """Alertmanager's shape with measured values, and resolves that are not recoveries."""

    def parse(self, body: bytes, headers: Mapping[str, str], source: SourceName) -> Delivery:
        delivery = read_delivery(
            body,
            source,
            version="1",
            other_versions="Grafana unified alerting's version 1: Alertmanager sends to /webhooks/alertmanager; "
            "legacy Grafana alerting (before 9) is not supported",
        )
        return msgspec.structs.replace(delivery, alerts=tuple(map(_as_grafana_means, delivery.alerts)))


def _as_grafana_means(alert: Alert) -> Alert:
    went_away = not alert.is_firing and alert.annotations.get(_REASON, "") != ""
    return msgspec.structs.replace(alert, recovered=not went_away)
