"""A message to a person, and what became of it."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from remediator.domain.ids import IncidentId


class NotificationKind(StrEnum):
    PAGE = "page"
    RESOLVED = "resolved"
    REVIEW = "review"
    """A page that would have been sent in `act`: observe mode's review log."""


LEFT_BEHIND = "left"
"""In the dedup key where the pages of a chain have its run: one that tells of what its incident leaves behind."""


class Notification(msgspec.Struct, frozen=True):
    incident: IncidentId
    kind: NotificationKind
    dedup_key: str
    """The same page tried again carries the same key."""
    recipient: str
    channel: str
    address: str
    title: str
    severity: str
    body: str
    """Plain text, a few lines; each notifier escapes it for its sink."""
    acknowledge_url: str = ""
    incident_url: str = ""
    links: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Name -> URL, of the incident's rule: shown last, and left out where there is no room."""

    @property
    def ends_with_its_chain(self) -> bool:
        return self.dedup_key.split(":")[1:2] != [LEFT_BEHIND]


class Receipt(msgspec.Struct, frozen=True):
    """The channel took it."""

    provider_id: str = ""
