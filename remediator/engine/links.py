"""Signed acknowledge links: bound to one incident and one recipient, good for a day. They acknowledge, nothing more."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from remediator.domain.errors import Unauthenticated
from remediator.domain.ids import IncidentId

GOOD_FOR = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Links:
    secret: bytes
    clock: Callable[[], datetime]

    def sign(self, incident: IncidentId, recipient: str) -> str:
        expires = int((self.clock() + GOOD_FOR).timestamp())
        return f"{expires}.{recipient}.{self._mac(incident, recipient, expires)}"

    def recipient(self, incident: IncidentId, token: str) -> str:
        """Whom the link was sent to. Raises `Unauthenticated` where it is forged, expired or for another incident."""
        expires, _, rest = token.partition(".")
        recipient, _, mac = rest.rpartition(".")
        if not _is_number(expires) or not hmac.compare_digest(
            mac.encode(), self._mac(incident, recipient, int(expires)).encode()
        ):
            raise Unauthenticated("this link is not valid")
        if self.clock().timestamp() > int(expires):
            raise Unauthenticated("this link has expired")
        return recipient

    def _mac(self, incident: IncidentId, recipient: str, expires: int) -> str:
        message = f"acknowledge\n{incident}\n{recipient}\n{expires}".encode()
        return hmac.digest(self.secret, message, "sha256").hex()


def _is_number(text: str) -> bool:
    """Seconds that a date can have; more digits than that are not even read."""
    return text.isascii() and text.isdecimal() and len(text) <= 12
