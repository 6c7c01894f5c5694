"""Alertmanager's webhook, payload version "4" (facts: intake 1.1)."""

from collections.abc import Mapping

from remediator.domain.alert import Delivery
from remediator.domain.errors import BadPayload
from remediator.domain.ids import SourceName
from remediator.sources import Source
from remediator.sources._payload import read_alerts, read_envelope


class Alertmanager(Source):
    """Firing and resolved alerts of one group, mixed; the whole group again each time."""

    def parse(self, body: bytes, headers: Mapping[str, str], source: SourceName) -> Delivery:
        envelope = read_envelope(body)
        if envelope.version != "4":
            raise BadPayload(
                f"version {envelope.version!r} is not Alertmanager's version 4: "
                "Grafana sends to /webhooks/grafana; a custom `payload` cannot be read"
            )
        alerts, rejected = read_alerts(envelope.alerts, source)
        return Delivery(source, body, alerts, rejected, truncated=envelope.truncated)
