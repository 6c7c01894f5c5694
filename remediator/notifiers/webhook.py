"""Pages to any program, signed, in the manner of Standard Webhooks."""

import base64
import hashlib
import hmac

import msgspec
from pydantic import Field

from remediator.domain.notification import Notification, Receipt
from remediator.notifiers import Notifier
from remediator.toolbox import Messengers


class Webhook(Notifier):
    """POSTs the page as JSON. Headers: `webhook-id` (the same for the same page), `webhook-timestamp` and
    `webhook-signature`: `v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`."""

    url: str = Field(min_length=1)
    secret: str = Field(min_length=1)
    """The name of the signing secret in the settings, never the secret itself."""

    def secrets(self) -> tuple[str, ...]:
        return (self.secret,)

    async def send(self, notification: Notification, tools: Messengers) -> Receipt:
        body = msgspec.json.encode(notification)
        stamp = str(int(tools.clock().timestamp()))
        signature = sign(tools.secret(self.secret), notification.dedup_key, stamp, body=body)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": notification.dedup_key,
            "webhook-timestamp": stamp,
            "webhook-signature": signature,
        }
        timeout = self.timeout.total_seconds()
        await tools.http.post_for_success(self.url, body=body, headers=headers, timeout=timeout)
        return Receipt()


def sign(secret: str, message_id: str, stamp: str, *, body: bytes) -> str:
    signed = f"{message_id}.{stamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(secret.encode(), signed, hashlib.sha256).digest()).decode()
