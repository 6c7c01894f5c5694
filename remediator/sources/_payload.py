"""What Alertmanager's and Grafana's webhooks have in common: the envelope, then each alert by itself.

An alert that cannot be read becomes a `Rejected`; its neighbours proceed. Unknown fields are ignored: senders add them.
A body in which every alert is as it should be, as nearly all are, is read in one pass of the decoder, which checks the
limits as it goes; only a body that fails there is taken apart alert by alert.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

import msgspec

from remediator.domain.alert import Alert, AlertStatus, Delivery, Rejected
from remediator.domain.errors import BadPayload
from remediator.domain.ids import Fingerprint, SourceName

MOST_LABELS = 256
LONGEST_TEXT = 64 * 1024
_FINGERPRINT = re.compile(r"[0-9a-f]{1,64}")
_ESCAPES = re.compile(
    rb"(\\\\|\\u[dD][89abAB]..\\u[dD][c-fC-F]..)"  # an escaped backslash, or two halves that make a character
    rb"|(\\u[dD][89a-fA-F]..)"  # one half alone
)
_ESCAPED_NUL = b"\\u0000"
"""The one text that JSON can carry, the decoder takes, and PostgreSQL cannot hold."""

_LARGEST_COUNT = (1 << 31) - 1

_Text = Annotated[str, msgspec.Meta(max_length=LONGEST_TEXT)]
_Texts = Annotated[dict[_Text, _Text], msgspec.Meta(max_length=MOST_LABELS)]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class _SoundAlert(msgspec.Struct, gc=False):
    """An alert with nothing to mend: what does not fit is read as `_AlertPayload`."""

    status: AlertStatus
    labels: Annotated[dict[_Text, _Text], msgspec.Meta(min_length=1, max_length=MOST_LABELS)]
    starts_at: _Moment = msgspec.field(name="startsAt")
    annotations: _Texts | None = None
    ends_at: _Moment | None = msgspec.field(default=None, name="endsAt")
    generator_url: _Text | None = msgspec.field(default="", name="generatorURL")
    fingerprint: str | None = ""
    values: dict[str, float | None] | None = None


class _SoundEnvelope(msgspec.Struct, gc=False):
    version: str
    alerts: list[_SoundAlert]
    truncated: int | None = msgspec.field(default=0, name="truncatedAlerts")


class _Envelope(msgspec.Struct):
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


_SOUND = msgspec.json.Decoder(_SoundEnvelope)
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_ALERT = msgspec.json.Decoder(_AlertPayload)


def read_delivery(body: bytes, source: SourceName, *, version: str, other_versions: str) -> Delivery:
    """Raises `BadPayload` with the place where the envelope stops making sense, or with `other_versions`: where to
    send a body of another version."""
    sound = _read_sound(body)
    if sound is not None:
        _demand_version(sound.version, version, other_versions)
        alerts = tuple([_sound_alert(payload, source) for payload in sound.alerts])
        return Delivery(source, body, alerts, truncated=_count(sound.truncated))
    envelope = _read_envelope(body)
    _demand_version(envelope.version, version, other_versions)
    alerts, rejected = _read_alerts(envelope.alerts or (), source)
    return Delivery(source, body, alerts, rejected, truncated=_count(envelope.truncated))


def _demand_version(found: str, wanted: str, other_versions: str) -> None:
    if found != wanted:
        raise BadPayload(f"version {found!r} is not {other_versions}")


def _read_sound(body: bytes) -> _SoundEnvelope | None:
    """None where anything in it wants a closer look."""
    # One byte is found in a fiftieth of the time of six, and most bodies escape nothing but their end.
    escape = body.find(b"\\")
    if escape >= 0 and body.find(_ESCAPED_NUL, escape) >= 0:
        return None
    try:
        envelope = _SOUND.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return envelope if all(1 < alert.starts_at.year < 9999 for alert in envelope.alerts) else None


def _count(told: int | None) -> int:
    """As a column can hold it."""
    return min(max(told or 0, 0), _LARGEST_COUNT)


def _sound_alert(payload: _SoundAlert, source: SourceName) -> Alert:
    resolved = payload.status is AlertStatus.RESOLVED
    return Alert(
        source,
        _fingerprint(payload.fingerprint, payload.labels),
        payload.status,
        payload.labels,
        payload.starts_at,
        payload.annotations or {},
        _known(payload.ends_at) if resolved and payload.ends_at else None,
        payload.generator_url or "",
        payload.values or {},
    )


def _known(moment: datetime) -> datetime | None:
    return moment if 1 < moment.year < 9999 else None


def _read_envelope(body: bytes) -> _Envelope:
    try:
        envelope = _decoded(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadPayload(f"the body is not a webhook payload: {error}") from error
    if envelope.alerts is None:
        raise BadPayload("the body has no list `alerts`")
    return envelope


def _decoded(body: bytes) -> _Envelope:
    """A broken character anywhere would cost every alert its place, so it is replaced and the body read once more."""
    try:
        return _ENVELOPE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _ENVELOPE.decode(_ESCAPES.sub(lambda found: found[1] or rb"\ufffd", _utf8(body)))


def _utf8(raw: bytes) -> bytes:
    return raw.decode("utf-8", "replace").encode()


def _read_alerts(
    raw_alerts: Sequence[msgspec.Raw], source: SourceName
) -> tuple[tuple[Alert, ...], tuple[Rejected, ...]]:
    alerts: list[Alert] = []
    rejected: list[Rejected] = []
    for position, raw in enumerate(raw_alerts):
        try:
            alerts.append(_alert(_ALERT.decode(_utf8(bytes(raw))), source))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, BadPayload) as error:
            rejected.append(Rejected(position, str(error), bytes(raw)))
    return tuple(alerts), tuple(rejected)


def _alert(payload: _AlertPayload, source: SourceName) -> Alert:
    labels = _texts(payload.labels, "labels")
    if not labels:
        raise BadPayload("labels: an alert without labels is nothing anybody can match")
    starts_at = _moment(payload.starts_at)
    if starts_at is None:
        raise BadPayload("startsAt: year 1 is not a start")
    return Alert(
        source=source,
        fingerprint=_fingerprint(payload.fingerprint, labels),
        status=payload.status,
        labels=labels,
        starts_at=starts_at,
        annotations=_texts(payload.annotations or {}, "annotations"),
        ends_at=_moment(payload.ends_at) if payload.ends_at and payload.status is AlertStatus.RESOLVED else None,
        generator_url=_text(payload.generator_url or ""),
        values=payload.values or {},
    )


def _moment(text: str) -> datetime | None:
    """RFC 3339, to the microsecond. None for year 1, which says "unknown". Raises `BadPayload`."""
    try:
        read = msgspec.convert(text, datetime)
    except msgspec.ValidationError as error:
        raise BadPayload(f"{text[:64]!r} is not a moment: {error}") from error
    if read.tzinfo is None:
        raise BadPayload(f"{text[:64]!r} has no time zone")
    return _known(read)


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
