"""Asking one peer: what it lists, since when it runs, and when it would tell us of what it lists.

A poll must not overtake the peer's own judgement. Within `group_wait` it may still learn that an alert is inhibited or
over, and tell nobody; in a mute time it tells nobody of what it lists like anything else.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Annotated

import msgspec
import structlog

from remediator.clients.alertmanager import (
    Alertmanager,
    ListedAlert,
    Listing,
    ListSent,
    PeerKind,
    PeerStatus,
    original_config,
    read_listing,
    read_mutes,
)
from remediator.domain.errors import RemediatorError, Temporary
from remediator.domain.ids import Fingerprint
from remediator.domain.reconciliation import PeerView, Sighting
from remediator.language.document import BadYaml
from remediator.language.foreign_yaml import load_foreign
from remediator.senders.routes import Reception, reception_of

log = structlog.get_logger()

WITHIN = timedelta(seconds=20)
"""For all that one peer is asked in a round: the others' answers must not wait until the round's own time is up."""
_READ_ASIDE = 256 * 1024
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_UNTOLD = "a mute time may hold back what it lists, and it does not say of which alerts: polls open nothing of it"
_UNTOLD_BY = {
    PeerKind.ALERTMANAGER: f"{_UNTOLD} (Alertmanager 0.28 and later say so)",
    PeerKind.GRAFANA: f"{_UNTOLD} (Grafana never says so)",
}


@dataclass(frozen=True, slots=True)
class Answer:
    listing: Listing
    view: PeerView
    caveat: str = ""
    """Why nothing is opened by it, for people; empty: it is good for all that polls are for."""


@dataclass(frozen=True, slots=True)
class _Mutes:
    """What keeps alerts back without a word of it in their list."""

    by_alert: Mapping[str, str]
    may_have_others: bool = False
    """Alerts that are not in it may be muted as well."""
    caveat: str = ""


class Inquiry:
    def __init__(self) -> None:
        self._reading = asyncio.Lock()
        """One long list at a time: threads that compute take turns with everybody's 2xx."""
        self._receptions: dict[tuple[str, str], Reception] = {}
        """As each peer last said: a status that fails now and then does not make its mute times unknown."""
        self._caveats: dict[str, str] = {}

    async def ask(self, peer: Alertmanager, receiver: str) -> Answer:
        """The list first: a peer that restarts before it says since when it runs is then known to be young."""
        try:
            async with asyncio.timeout(WITHIN.total_seconds()):
                sent = await peer.alerts()
                status = await _status(peer)
                reception = await self._reception(peer, status, receiver)
                mutes = await self._mutes(peer, receiver) if reception.has_mute_times else _Mutes({})
        except TimeoutError as error:
            late = f"has not answered in full within {WITHIN.total_seconds():.0f} s"
            raise Temporary(late, system=peer.url, operation="poll") from error
        self._warn_once(peer, mutes.caveat)
        arguments = sent, peer.url, receiver, status.up_for, reception, mutes
        if len(sent.body) <= _READ_ASIDE:
            return _read(*arguments)
        async with self._reading:
            return await asyncio.to_thread(_read, *arguments)

    async def _reception(self, peer: Alertmanager, status: PeerStatus, receiver: str) -> Reception:
        config = original_config(status) if peer.kind is PeerKind.ALERTMANAGER else _text(status.config)
        async with self._reading:
            told = await asyncio.to_thread(_told_by, config, receiver) if config else None
        if told is not None:
            self._receptions[peer.url, receiver] = told
        return self._receptions.get((peer.url, receiver), Reception())

    async def _mutes(self, peer: Alertmanager, receiver: str) -> _Mutes:
        """Where they cannot be had, the list is still good for closing."""
        if peer.kind is PeerKind.GRAFANA:
            return _Mutes({}, may_have_others=True, caveat=_UNTOLD_BY[peer.kind])
        try:
            body = await peer.groups(receiver)
            async with self._reading:
                told = await asyncio.to_thread(read_mutes, body, receiver, system=peer.url)
        except RemediatorError as error:
            return _Mutes({}, may_have_others=True, caveat=f"{_UNTOLD}: {error}")
        if told is None:
            return _Mutes({}, may_have_others=True, caveat=_UNTOLD_BY[peer.kind])
        return _Mutes(told, may_have_others=True)

    def _warn_once(self, peer: Alertmanager, caveat: str) -> None:
        if caveat and self._caveats.get(peer.url) != caveat:
            log.warning("polls open nothing of a peer", peer=peer.url, reason=caveat)
        self._caveats[peer.url] = caveat


async def _status(peer: Alertmanager) -> PeerStatus:
    """An empty one where the peer does not tell, for whatever reason: its list opens what it opens, and closes more
    slowly."""
    try:
        return await peer.status()
    except RemediatorError as error:
        log.info("peer does not tell since when it runs", peer=peer.url, error=str(error))
        return PeerStatus(None, b"null")


def _text(config: bytes) -> str:
    return config.decode("utf-8", "replace")


@lru_cache(maxsize=64)  # the same text with every poll, and from every peer of a source
def _told_by(config: str, receiver: str) -> Reception | None:
    try:
        return reception_of(load_foreign(config, "its configuration"), receiver)
    except BadYaml:
        return None


def _read(
    sent: ListSent, system: str, receiver: str, up_for: timedelta | None, reception: Reception, mutes: _Mutes
) -> Answer:
    listing = read_listing(sent.body, system=system)
    alike: dict[tuple[bool, str, bool], Sighting] = {}  # few differ, and there may be thousands
    sightings: dict[Fingerprint, Sighting] = {}
    starts: dict[Fingerprint, datetime] = {}
    for alert in listing.alerts:
        muted = mutes.by_alert.get(alert.fingerprint)
        why = "; ".join(filter(None, (alert.suppressed_by, muted)))
        key = alert.is_routed_to(receiver), why, muted is None and mutes.may_have_others
        fingerprint = Fingerprint(alert.fingerprint)
        seen = sightings[fingerprint] = alike.get(key) or alike.setdefault(key, Sighting(*key))
        if seen.routed_to_us and not seen.suppressed_by:
            starts[fingerprint] = _start_of(alert)
    view = PeerView(sightings, up_for, not listing.unreadable, starts, sent.at, _waits(reception))
    return Answer(listing, view, mutes.caveat)


def _waits(reception: Reception) -> timedelta:
    """A group is marked as muted when it is next told of, or would be: until then it looks like any other."""
    until_marked = reception.group_interval if reception.has_mute_times else timedelta()
    return reception.group_wait + until_marked


def _start_of(alert: ListedAlert) -> datetime:
    """To the microsecond, as intake reads it; where it cannot be read, earlier than any."""
    try:
        return msgspec.convert(alert.starts_at, _Moment)
    except msgspec.ValidationError:
        return _LONG_AGO
