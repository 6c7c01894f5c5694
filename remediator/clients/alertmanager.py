"""Alertmanager's API v2, and Grafana's copy of it: which alerts one peer holds, since when it runs, what it is told.

Mute times hold back groups, not alerts: the list of alerts says nothing of them, whatever its `mutedBy` is like. What
does is the list of groups, in Alertmanager 0.28 and later; Grafana has the field there and never fills it.

Read only. A list can hold every alert of a bad night, so it has its own size limit; an entry that cannot be read is
counted and costs its neighbours nothing.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Annotated
from urllib.parse import quote

import msgspec

from remediator.clients.http import HttpClient, Response
from remediator.domain.errors import Permanent, Temporary

MOST_LIST_BYTES = 64 * 1024 * 1024
"""20,000 alerts are about 16 MB."""
LONGEST_ANSWER = timedelta(seconds=10)


class PeerKind(StrEnum):
    ALERTMANAGER = "alertmanager"
    GRAFANA = "grafana"


_PREFIXES = {PeerKind.ALERTMANAGER: "", PeerKind.GRAFANA: "/api/alertmanager/grafana"}


class _Receiver(msgspec.Struct, frozen=True, gc=False):
    name: str


class _Muting(msgspec.Struct, frozen=True, rename="camel", gc=False):
    state: str = ""
    silenced_by: tuple[str, ...] | None = ()
    inhibited_by: tuple[str, ...] | None = ()


class _GroupMuting(msgspec.Struct, frozen=True, rename="camel", gc=False):
    muted_by: tuple[str, ...] | msgspec.UnsetType | None = msgspec.UNSET


class _Grouped(msgspec.Struct, frozen=True, gc=False):
    fingerprint: str
    status: _GroupMuting


class _Group(msgspec.Struct, frozen=True, gc=False):
    receiver: _Receiver
    alerts: tuple[_Grouped, ...] = ()


class ListedAlert(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """One alert that fires at a peer. What only few readers need stays unread: lists are long."""

    fingerprint: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{1,64}$")]
    status: _Muting
    starts_at: str
    labels: msgspec.Raw
    annotations: msgspec.Raw = msgspec.Raw(b"{}")
    receivers: tuple[_Receiver, ...] = ()
    generator_url: str | None = msgspec.field(default="", name="generatorURL")

    def is_routed_to(self, receiver: str) -> bool:
        return any(each.name == receiver for each in self.receivers)

    @property
    def suppressed_by(self) -> str:
        """In words; empty where nothing keeps it from being notified. Not by which alert it is inhibited: of several
        the peer names any, now this one and now that."""
        status = self.status
        if not (status.silenced_by or status.inhibited_by or status.state == "suppressed"):
            return ""
        silence = f"silence {', '.join(sorted(status.silenced_by))}" if status.silenced_by else ""
        inhibition = "inhibition" if status.inhibited_by else ""
        return "; ".join(filter(None, (silence, inhibition))) or "suppression"


@dataclass(frozen=True, slots=True)
class Listing:
    alerts: tuple[ListedAlert, ...]
    unreadable: int = 0
    """Entries that are no alert we know the shape of: the list is then no proof that something is absent."""


@dataclass(frozen=True, slots=True)
class ListSent:
    body: bytes
    """For `read_listing`."""
    at: datetime | None
    """By the peer's own clock, to the second; None where it does not say."""


class _StatusPayload(msgspec.Struct):
    uptime: str | None = None
    config: msgspec.Raw = msgspec.Raw(b"null")


@dataclass(frozen=True, slots=True)
class PeerStatus:
    up_for: timedelta | None
    """By the peer's own clock; None where it does not say when it started (Grafana never does)."""
    config: bytes
    """JSON: Alertmanager's `{"original": "<YAML>"}`, or Grafana's configuration itself."""


class _OriginalConfig(msgspec.Struct):
    original: str


_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_ALERT = msgspec.json.Decoder(ListedAlert)
_GROUPS = msgspec.json.Decoder(list[_Group])
_STATUS = msgspec.json.Decoder(_StatusPayload)
_ORIGINAL = msgspec.json.Decoder(_OriginalConfig)


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """One peer."""

    url: str
    kind: PeerKind
    http: HttpClient
    authorization: str = field(default="", repr=False)
    timeout: timedelta = LONGEST_ANSWER

    async def alerts(self) -> ListSent:
        """Raises `Temporary`, or `Permanent` for any answer but a list."""
        answer = await self._get("/api/v2/alerts?active=true&silenced=true&inhibited=true&unprocessed=true")
        return ListSent(self._whole(answer, "alerts"), _moment_of(answer))

    async def groups(self, receiver: str) -> bytes:
        """Those that it is told of, for `read_mutes`. Raises `Temporary`, or `Permanent` for any answer but a list."""
        answer = await self._get(f"/api/v2/alerts/groups?receiver={quote(re.escape(receiver), safe='')}")
        return self._whole(answer, "groups")

    def _whole(self, answer: Response, what: str) -> bytes:
        if len(answer.body) >= MOST_LIST_BYTES:
            raise Permanent(
                f"its list of {what} is larger than {MOST_LIST_BYTES >> 20} MiB", system=self.url, operation=what
            )
        return answer.body

    async def status(self) -> PeerStatus:
        answer = await self._get("/api/v2/status")
        try:
            read = _STATUS.decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Permanent(f"answered no status: {error}", system=self.url, operation="status") from error
        return PeerStatus(_up_for(read.uptime, answer), bytes(read.config))

    async def _get(self, path: str) -> Response:
        headers = {"Authorization": self.authorization} if self.authorization else {}
        answer = await self.http.get(
            self.url + _PREFIXES[self.kind] + path,
            headers=headers,
            timeout=self.timeout.total_seconds(),
            at_most=MOST_LIST_BYTES,
        )
        operation = path.partition("?")[0]
        if answer.status >= 500:  # 503 is also "too many requests at once" (facts: intake 1.7)
            raise Temporary(f"answered {answer.status}: {answer.text[:200]}", system=self.url, operation=operation)
        if answer.status != 200:
            raise Permanent(
                f"answered {answer.status}: {_advice(answer)}",
                system=self.url,
                operation=operation,
                status=answer.status,
            )
        return answer


def bearer(token: str) -> str:
    return f"Bearer {token}"


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def read_listing(body: bytes, *, system: str) -> Listing:
    """Pure, and long for long lists: a thread is the place for it. Raises `Permanent` where it is no list."""
    try:
        entries = _LIST.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Permanent(f"answered no list of alerts: {error}", system=system, operation="alerts") from error
    alerts: list[ListedAlert] = []
    for entry in entries:
        try:
            alerts.append(_ALERT.decode(entry))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
    return Listing(tuple(alerts), unreadable=len(entries) - len(alerts))


def read_mutes(body: bytes, receiver: str, *, system: str) -> Mapping[str, str] | None:
    """Of each alert that is in a group of that receiver, by its fingerprint: the mute time in words, empty where some
    group of it is told. None where this release does not say. Pure, and long for long lists. Raises `Permanent`."""
    try:
        groups = _GROUPS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Permanent(f"answered no list of groups: {error}", system=system, operation="groups") from error
    mutes: dict[str, str] = {}
    for group in groups:
        if group.receiver.name != receiver:
            continue
        for alert in group.alerts:
            if alert.status.muted_by is msgspec.UNSET:
                return None
            muted = f"mute time {', '.join(sorted(alert.status.muted_by))}" if alert.status.muted_by else ""
            mutes[alert.fingerprint] = muted and mutes.get(alert.fingerprint, muted)
    return mutes


def original_config(status: PeerStatus) -> str | None:
    """Alertmanager's own YAML, its secrets blanked; None where the peer has no such thing."""
    try:
        return _ORIGINAL.decode(status.config).original
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _up_for(started: str | None, answer: Response) -> timedelta | None:
    """Against the answer's own `Date`: the peer's clock need not agree with ours."""
    now = _moment_of(answer)
    try:
        return now - msgspec.convert(started, datetime) if now is not None else None
    except (msgspec.ValidationError, ValueError, TypeError, OverflowError):
        return None


def _moment_of(answer: Response) -> datetime | None:
    try:
        moment = parsedate_to_datetime(_header(answer, "date"))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError):  # it overflows in the year 9999, west of Greenwich
        return None


def _advice(answer: Response) -> str:
    match answer.status:
        case 401 | 403:
            return "it wants another `token` or `basic` login"
        case 404:
            return "is this its base URL, and its kind?"
        case status if 300 <= status < 400:
            return f"redirects are not followed; it points to {_header(answer, 'location')[:200]}"
        case _:
            return answer.text[:200]


def _header(answer: Response, wanted: str) -> str:
    return next((value for name, value in answer.headers.items() if name.lower() == wanted), "")
