"""Payload -> alerts. To add a source: one file with one `Source` class; `POST /webhooks/<file name>` then exists."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from remediator.domain.alert import Delivery
from remediator.domain.ids import SourceName


class Source(ABC):
    """Reads one sender's webhook bodies."""

    @abstractmethod
    def parse(self, body: bytes, headers: Mapping[str, str], source: SourceName) -> Delivery:
        """Raises `BadPayload` where the envelope cannot be read; a bad alert inside it is `Delivery.rejected`."""
