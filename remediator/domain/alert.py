"""One alert as a source delivered it. Labels and annotations are hostile input: data, never code.

Alerts come by the ten thousand: as structs they are made at a tenth of a data class's cost, and the collector, for
whom there is nothing in them (`gc=False`: only texts, numbers and moments), never looks at them.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from remediator.domain.ids import AlertKey, Fingerprint, SourceName


class AlertStatus(StrEnum):
    FIRING = "firing"
    RESOLVED = "resolved"


class Alert(msgspec.Struct, frozen=True, gc=False):
    source: SourceName
    fingerprint: Fingerprint
    status: AlertStatus
    labels: Mapping[str, str]
    starts_at: datetime
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    ends_at: datetime | None = None
    generator_url: str = ""
    values: Mapping[str, float | None] = msgspec.field(default_factory=dict)
    """Grafana's measured values; empty elsewhere."""
    recovered: bool = True
    """False where a resolve says that the alert went away, not that the trouble did (Grafana's NoData, Paused, ...)."""

    @property
    def key(self) -> AlertKey:
        return self.source, self.fingerprint

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "unnamed alert")

    @property
    def labels_told(self) -> str:
        """All but the name, for people."""
        return ", ".join(f"{name}={value!r}" for name, value in sorted(self.labels.items()) if name != "alertname")

    @property
    def is_firing(self) -> bool:
        return self.status is AlertStatus.FIRING


class Rejected(msgspec.Struct, frozen=True, gc=False):
    """An alert inside a delivery that could not be read: kept aside, its neighbours proceed."""

    position: int
    reason: str
    raw: bytes


class Delivery(msgspec.Struct, frozen=True):
    """One webhook body, read."""

    source: SourceName
    body: bytes
    alerts: tuple[Alert, ...]
    rejected: tuple[Rejected, ...] = ()
    truncated: int = 0
    """How many alerts the sender says it left out."""


class Accepted(msgspec.Struct, frozen=True):
    """What became of one delivery, told to its sender after the commit."""

    stored: int
    rejected: int
    truncated: int
