"""Bodies that cannot be read, whole or in part, as senders, templates and proxies make them."""

from collections.abc import Sequence
from random import Random

import msgspec

from tests.fakes.alertmanager_peers import Told, alerts_of
from tests.faults.evidence import Broken, Sent
from tests.faults.scenario import Garbling

_LIKE_ZSTANDARD = b"\x28\xb5\x2f\xfd"
_DEEPER_THAN_ANYBODY_READS = 100_000
_WHOLE = {
    Garbling.CUT: b'{"version": "4", "number": %d, "alerts": [{"status": "firing", "lab',
    Garbling.NO_LIST: b'{"version": "4", "number": %d}',
    Garbling.OTHER_VERSION: b'{"version": "3", "number": %d, "alerts": []}',
    Garbling.NO_TEXT: b"\x00\xff\xfe%d\x80",
    Garbling.LIKE_COMPRESSED: _LIKE_ZSTANDARD + b"%d",
    Garbling.TOO_DEEP: b'{"version": "4", "number": %d, "alerts": ' + b"[" * _DEEPER_THAN_ANYBODY_READS,
}
_ALERT = {
    Garbling.NO_LABELS: b'{"status": "firing",  "labels": {}, "startsAt": "2026-03-01T12:00:00Z", "number": %d}',
    Garbling.NO_MOMENT: b'{ "status": "firing", "labels": {"alertname": "A%d"}, "startsAt": "yesterday" }',
    Garbling.NO_OBJECT: b"%d",
    Garbling.UNKNOWN_STATUS: b'{"status":"odd","labels":{"alertname":"A%d"},"startsAt":"2026-03-01T12:00:00Z"}',
    Garbling.NUMBER_AS_LABEL: b'{"status":"firing","labels":{"alertname": %d},"startsAt":"2026-03-01T12:00:00Z"}',
}
_MENDED = {Garbling.HALF_A_CHARACTER: rb"\ud83d", Garbling.NO_UTF8: b"\xc3"}
_LONG = b" " * 5_000
"""Enough for a body that is kept compressed."""


def garbled(what: Garbling, neighbours: Sequence[Told], *, number: int, random: Random) -> Sent:
    """With `neighbours` where it can be read in part. No two have the same number, so that each can be told apart."""
    stuffing = random.choice((b"", _LONG))
    if what in _WHOLE:
        body = _WHOLE[what] % number + stuffing
        return Sent(body, broken=(Broken(-1, body),))
    alerts = [msgspec.json.encode(alert) for alert in alerts_of(neighbours)]
    if what in _MENDED:
        alerts[0] = alerts[0].replace(b'"annotations":{}', b'"annotations":{"text":"%s"}' % _MENDED[what])
        assert _MENDED[what] in alerts[0], "there was nowhere to put it"
        return Sent(_body(alerts, stuffing), _fingerprints(neighbours), readable=len(alerts))
    position, broken = random.randint(0, len(alerts)), _ALERT[what] % number
    body = _body([*alerts[:position], broken, *alerts[position:]], stuffing)
    return Sent(body, _fingerprints(neighbours), broken=(Broken(position, broken),), readable=len(alerts))


def _body(alerts: Sequence[bytes], stuffing: bytes) -> bytes:
    return b'{"version": "4", "status": "firing", "alerts": [%s]}' % b" ,\n".join(alerts) + stuffing


def _fingerprints(neighbours: Sequence[Told]) -> tuple[str, ...]:
    return tuple(told.fingerprint for told in neighbours)
