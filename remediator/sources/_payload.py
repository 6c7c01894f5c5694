"""What Alertmanager's and Grafana's webhooks have in common: the envelope, then each alert by itself.

An alert that cannot be read becomes a `Rejected`; its neighbours proceed. Unknown fields are ignored: senders add them.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from remediator.domain.alert import Alert, AlertStatus, Rejected
from remediator.domain.errors import BadPayload
from remediator.domain.ids import Fingerprint, SourceName

MOST_LABELS = 256
LONGEST_TEXT = 64 * 1024
_FINGERPRINT = re.compile(r"[0-9a-f]{1,64}")
_ESCAPES = re.compile(
    rb"(\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..)"  # an escaped backslash, or two halves that make a character
    rb"|(\\u[dD][89a-fA-F]..)"  # one half alone
)
_NANOSECONDS = re.compile(r"(\.\d{6})\d+")


class Envelope(msgspec.Struct):
    version: str = ""
    alerts: list[msgspec.Raw] | None = None
    truncated: int | None = msgspec.field(default=0, name="truncatedAlerts")


class _AlertPayload(msgspec.Struct):
    status: AlertStatus
    labels: dict[str, str]
    starts_at: str = msgspec.field(name="startsAt")
    annotations: dict[str, str] | None = None
    ends_at: str | None = msgspec.field(default=None, name="endsAt")
    generator_url: str | None = msgspec.field(default="", name="generatorURL")
    fingerprint: str | None = ""
    values: dict[str, float | None] | None = None


_ENVELOPE = msgspec.json.Decoder(Envelope)
_ALERT = msgspec.json.Decoder(_AlertPayload)


class ReadEnvelope(msgspec.Struct, frozen=True):
    version: str
    alerts: Sequence[msgspec.Raw]
    truncated: int


def read_envelope(body: bytes) -> ReadEnvelope:
    """Raises `BadPayload` with the place where it stops making sense."""
    try:
        envelope = _decoded(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadPayload(f"the body is not a webhook payload: {error}") from error
    if envelope.alerts is None:
        raise BadPayload("the body has no list `alerts`")
    return ReadEnvelope(envelope.version, envelope.alerts, max(envelope.truncated or 0, 0))


def _decoded(body: bytes) -> Envelope:
    """A broken character anywhere would cost every alert its place, so it is replaced and the body read once more."""
    try:
        return _ENVELOPE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        whole = body.decode("utf-8", "replace").encode()
        return _ENVELOPE.decode(_ESCAPES.sub(lambda found: found[1] or rb"\ufffd", whole))


def read_alerts(
    raw_alerts: Sequence[msgspec.Raw], source: SourceName
) -> tuple[tuple[Alert, ...], tuple[Rejected, ...]]:
    alerts: list[Alert] = []
    rejected: list[Rejected] = []
    for position, raw in enumerate(raw_alerts):
        try:
            alerts.append(_alert(_ALERT.decode(raw), source))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BadPayload) as error:
            rejected.append(Rejected(position, str(error), bytes(raw)))
    return tuple(alerts), tuple(rejected)


def _alert(payload: _AlertPayload, source: SourceName) -> Alert:
    labels = _texts(payload.labels, "labels")
    if not labels:
        raise BadPayload("labels: an alert without labels is nothing anybody can match")
    starts_at = moment(payload.starts_at)
    if starts_at is None:
        raise BadPayload("startsAt: year 1 is not a start")
    return Alert(
        source=source,
        fingerprint=_fingerprint(payload.fingerprint, labels),
        status=payload.status,
        labels=labels,
        starts_at=starts_at,
        annotations=_texts(payload.annotations or {}, "annotations"),
        ends_at=moment(payload.ends_at) if payload.ends_at and payload.status is AlertStatus.RESOLVED else None,
        generator_url=_text(payload.generator_url or ""),
        values=payload.values or {},
    )


def moment(text: str) -> datetime | None:
    """RFC 3339 with up to nine fractional digits. None for year 1, which says "unknown". Raises `BadPayload`."""
    try:
        read = datetime.fromisoformat(_NANOSECONDS.sub(r"\1", text))
    except ValueError as error:
        raise BadPayload(f"{text[:64]!r} is not a moment: {error}") from error
    if read.tzinfo is None:
        raise BadPayload(f"{text[:64]!r} has no time zone")
    return None if read.year <= 1 or read.year >= 9999 else read.astimezone(UTC)


def _texts(texts: Mapping[str, str], what: str) -> dict[str, str]:
    if len(texts) > MOST_LABELS:
        raise BadPayload(f"{what}: {len(texts)} of them; the most is {MOST_LABELS}")
    return {_text(name): _text(value) for name, value in texts.items()}


def _text(text: str) -> str:
    """What PostgreSQL and UTF-8 can hold, cut to a size that one row can bear."""
    return text[:LONGEST_TEXT].replace("\x00", "\ufffd").encode("utf-8", "replace").decode()


def _fingerprint(given: str | None, labels: Mapping[str, str]) -> Fingerprint:
    """The sender's where it has one; else over the labels, so that the same alert is the same again."""
    if given and _FINGERPRINT.fullmatch(given):
        return Fingerprint(given)
    canonical = msgspec.json.encode(sorted(labels.items()))
    return Fingerprint(hashlib.sha256(canonical).hexdigest()[:16])
