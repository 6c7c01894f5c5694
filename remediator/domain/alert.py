"""One alert as a source delivered it. Labels and annotations are hostile input: data, never code."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from remediator.domain.ids import Fingerprint, SourceName


class AlertStatus(StrEnum):
    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Alert:
    source: SourceName
    fingerprint: Fingerprint
    status: AlertStatus
    labels: Mapping[str, str]
    starts_at: datetime
    annotations: Mapping[str, str] = field(default_factory=dict)
    ends_at: datetime | None = None
    generator_url: str = ""
    values: Mapping[str, float | None] = field(default_factory=dict)
    """Grafana's measured values; empty elsewhere."""
    recovered: bool = True
    """False where a resolve says that the alert went away, not that the trouble did (Grafana's NoData, Paused, ...)."""

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "unnamed alert")

    @property
    def is_firing(self) -> bool:
        return self.status is AlertStatus.FIRING


@dataclass(frozen=True, slots=True)
class Rejected:
    """An alert inside a delivery that could not be read: kept aside, its neighbours proceed."""

    position: int
    reason: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook body, read."""

    source: SourceName
    body: bytes
    alerts: tuple[Alert, ...]
    rejected: tuple[Rejected, ...] = ()
    truncated: int = 0
    """How many alerts the sender says it left out."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of one delivery, told to its sender after the commit."""

    stored: int
    rejected: int
    truncated: int


def lag_of(alert: Alert, *, received_at: datetime) -> float:
    """Seconds from its start to its arrival here. A sender whose clock is ahead is not early."""
    return max((received_at - alert.starts_at).total_seconds(), 0)
