"""Writes to a cluster: a plan's call, as it was planned and rehearsed. Built only above observe mode."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from remediator.clients.kubernetes.read_only import FIELD_MANAGER
from remediator.clients.kubernetes.transport import Transport
from remediator.domain.ids import IntentId
from remediator.domain.plan import Call, Fence, unfenced

INTENT_ANNOTATION = "remediator.dev/intent"
"""Where a plan's body has this key without a value, the intent's id is put in: the mark to recognise the write by. One
with a value is an earlier write's, in a template that is brought back."""


@dataclass(frozen=True, slots=True)
class KubernetesWriter:
    transport: Transport
    fence: Fence = unfenced

    async def send(self, call: Call, intent: IntentId) -> Mapping[str, Any]:
        """Once, never repeated. Raises `Ambiguous` where the answer never came, and what `fence` raises."""
        body = await self.transport.send(
            call.method,
            call.resource,
            {**call.query, "fieldManager": manager_of(intent)},
            body=marked(call.payload, intent),
            content_type=call.content_type,
            fence=self.fence,
        )
        answer: Mapping[str, Any] = msgspec.json.decode(body) if body.startswith(b"{") else {}
        return answer


def manager_of(intent: IntentId) -> str:
    """Whose the fields are that the intent's write sets: its mark where a plan's body has room for none."""
    return f"{FIELD_MANAGER}-{intent}"


def marked(body: Any, intent: IntentId) -> Any:
    """The body with the intent's id wherever a plan left room for it, and else as it was rehearsed."""
    match body:
        case dict() | Mapping():
            return {k: intent if (k, v) == (INTENT_ANNOTATION, "") else marked(v, intent) for k, v in body.items()}
        case list() | tuple():
            return [_marked_operation(item, intent) for item in body]
        case _:
            return body


def _marked_operation(item: Any, intent: IntentId) -> Any:
    """A JSON patch names the annotation in its path, with `/` written as `~1`."""
    is_ours = isinstance(item, Mapping) and str(item.get("path", "")).endswith(INTENT_ANNOTATION.replace("/", "~1"))
    return {**item, "value": intent} if is_ours and item.get("value") == "" else marked(item, intent)
