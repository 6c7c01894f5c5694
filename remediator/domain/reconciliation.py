"""Anti-entropy: what the peers of one source list, held against the episodes we have open.

Webhooks alone lose alerts in six known ways (facts: intake 1.5); a poll of every peer repairs what still fires. Firing
there and unknown here is opened. Open here and listed nowhere is closed, but only on proof: an alert is never taken
for gone because somebody did not answer, answered in part, or has just started with an empty memory.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from remediator.domain.ids import EpisodeId, Fingerprint

GONE_AFTER_POLLS = 3
RESTART_SHADOW = timedelta(minutes=5)
"""Alertmanager keeps alerts in memory only; by then every Prometheus has told it again."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One alert that one peer lists."""

    routed_to_us: bool
    suppressed_by: str = ""
    """The silence, inhibition or mute time; empty: it would be notified."""


@dataclass(frozen=True, slots=True)
class PeerView:
    """What one peer answered."""

    sightings: Mapping[Fingerprint, Sighting]
    """Every alert it lists, whoever it is routed to: an alert that was routed away has not ended."""
    up_for: timedelta | None
    """None where the peer does not say when it started."""
    is_whole: bool = True
    """False where a part of its list could not be read."""
    starts: Mapping[Fingerprint, datetime] = field(default_factory=dict)
    """Since when what it would notify us of fires; since ever where that cannot be read."""


@dataclass(frozen=True, slots=True)
class KnownEpisode:
    """One of our open episodes."""

    id: EpisodeId
    fingerprint: Fingerprint
    starts_at: datetime
    last_seen_at: datetime
    missed_polls: int = 0
    missed_since: datetime | None = None
    suppressed_by: str = ""


@dataclass(frozen=True, slots=True)
class Absence:
    """For how many polls on end, and since when, an alert was nowhere. Zero: it is there again."""

    polls: int
    since: datetime | None


PRESENT = Absence(0, None)


@dataclass(frozen=True, slots=True)
class Repairs:
    """What has to change here; empty where both sides agree."""

    unknown: tuple[Fingerprint, ...] = ()
    """To be opened."""
    restarted: tuple[Fingerprint, ...] = ()
    """Open here, and begun anew there: their end was never told, and neither may be the start."""
    gone: tuple[EpisodeId, ...] = ()
    """To be closed."""
    absences: Mapping[EpisodeId, Absence] = field(default_factory=dict)
    """Counters that changed."""
    suppressions: Mapping[EpisodeId, str] = field(default_factory=dict)
    """What changed: by what it is suppressed now; empty where that was lifted."""


def reconcile(episodes: Sequence[KnownEpisode], views: Sequence[PeerView | None], *, at: datetime) -> Repairs:
    """`views` has one entry a configured peer, None for one that did not answer; `at` is when the polls began."""
    heard = [view for view in views if view is not None]
    listed = _union(heard)
    open_here = {episode.fingerprint for episode in episodes}
    absences = _absences(episodes, listed, at) if _proves_absence(views) else _returns(episodes, listed)
    patience = timedelta() if all(view.up_for is not None for view in heard) else RESTART_SHADOW
    return Repairs(
        unknown=tuple(f for f, seen in listed.items() if seen.routed_to_us and f not in open_here),
        restarted=tuple(episode.fingerprint for episode in episodes if _began_anew(episode, heard)),
        gone=tuple(id_ for id_, absence in absences.items() if _is_gone(absence, at, patience)),
        absences=absences,
        suppressions=_suppressions(episodes, heard),
    )


def _union(views: Iterable[PeerView]) -> dict[Fingerprint, Sighting]:
    """`routed_to_us` here: and some peer would notify it. Peers may not know of a silence yet, or not any more."""
    union: dict[Fingerprint, Sighting] = {}
    for view in views:
        for fingerprint, seen in view.sightings.items():
            known = union.get(fingerprint)
            opens = seen.routed_to_us and not seen.suppressed_by
            if known is None or (opens and not known.routed_to_us):
                union[fingerprint] = Sighting(opens)
    return union


def _began_anew(episode: KnownEpisode, views: Iterable[PeerView]) -> bool:
    return any(view.starts.get(episode.fingerprint, episode.starts_at) > episode.starts_at for view in views)


def _proves_absence(views: Sequence[PeerView | None]) -> bool:
    return bool(views) and all(
        view is not None and view.is_whole and (view.up_for is None or view.up_for >= RESTART_SHADOW) for view in views
    )


def _absences(
    episodes: Iterable[KnownEpisode], listed: Mapping[Fingerprint, Sighting], at: datetime
) -> dict[EpisodeId, Absence]:
    changed = _returns(episodes, listed)
    for episode in episodes:
        told_since = episode.last_seen_at >= at  # a webhook came while the peers were asked
        if episode.fingerprint not in listed and not told_since:
            changed[episode.id] = _missed_again(episode, at)
    return changed


def _returns(episodes: Iterable[KnownEpisode], listed: Mapping[Fingerprint, Sighting]) -> dict[EpisodeId, Absence]:
    return {e.id: PRESENT for e in episodes if e.missed_polls and e.fingerprint in listed}


def _missed_again(episode: KnownEpisode, at: datetime) -> Absence:
    """A webhook since the first miss says that the alert fired after it: the count starts afresh."""
    since = episode.missed_since
    if since is None or episode.last_seen_at > since:
        return Absence(1, at)
    return Absence(episode.missed_polls + 1, since)


def _is_gone(absence: Absence, at: datetime, patience: timedelta) -> bool:
    """`patience` covers a restart that nobody would tell us of."""
    return absence.since is not None and absence.polls >= GONE_AFTER_POLLS and at - absence.since >= patience


def _suppressions(episodes: Iterable[KnownEpisode], views: Sequence[PeerView]) -> dict[EpisodeId, str]:
    """One peer's word is enough to hold a write: a silence reaches the other peers a moment later."""
    changed: dict[EpisodeId, str] = {}
    for episode in episodes:
        seen = [view.sightings[episode.fingerprint] for view in views if episode.fingerprint in view.sightings]
        now = next((each.suppressed_by for each in seen if each.suppressed_by), "")
        if seen and now != episode.suppressed_by:
            changed[episode.id] = now
    return changed
