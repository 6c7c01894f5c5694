"""Alertmanager's webhook, payload version "4" (facts: intake 1.1)."""

from collections.abc import Mapping

from remediator.domain.alert import Delivery
from remediator.domain.ids import SourceName
from remediator.sources import Source
from remediator.sources._payload import read_delivery


class Alertmanager(Source):
    """Firing and resolved alerts of one group, mixed; the whole group again each time."""

    def parse(self, body: bytes, headers: Mapping[str, str], source: SourceName) -> Delivery:
        return read_delivery(
            body,
            source,
            version="4",
            other_versions="Alertmanager's version 4: "
            "Grafana sends to /webhooks/grafana; a custom `payload` cannot be read",
        )
