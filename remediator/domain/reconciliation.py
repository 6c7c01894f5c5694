"""Anti-entropy: what the peers of one source list, held against the episodes we have open.

Webhooks alone lose alerts in six known ways (facts: intake 1.5); a poll of every peer repairs what still fires. Firing
there and unknown here is opened, unless the peer itself would not have told of it yet. Open here and listed nowhere is
closed, but only on proof: an alert is never taken for gone because somebody did not answer, answered in part, or has
just started with an empty memory, nor where none of those we ask ever had it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from remediator.domain.ids import EpisodeId, Fingerprint

GONE_AFTER_POLLS = 3
FOREIGN_AFTER_POLLS = 10
"""Without it ever being listed. A resolve that is only late comes sooner: within `group_interval`, five minutes."""
RESTART_SHADOW = timedelta(minutes=15)
"""Alertmanager keeps alerts in memory only; by then every Prometheus has told it again. It tells what fires once an
evaluation, and a group of rules may be evaluated every five or ten minutes only."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One alert that one peer lists."""

    routed_to_us: bool
    suppressed_by: str = ""
    """The silence, inhibition or mute time; empty: it would be notified."""
    may_be_muted: bool = False
    """By a mute time that the peer does not tell of."""


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
    told_at: datetime | None = None
    """By its own clock; None where it does not say."""
    waits: timedelta = timedelta()
    """For so long after its start it may keep an alert to itself: what is inhibited or over by then, it never tells."""

    @property
    def is_young(self) -> bool:
        return self.up_for is not None and self.up_for < RESTART_SHADOW


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
    is_listed: bool = False
    """By some peer in some poll, since it began: then its absence says something."""


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
    listed: tuple[EpisodeId, ...] = ()
    """For the first time."""
    foreign: tuple[EpisodeId, ...] = ()
    """No peer has ever listed them: another sender may use the same name. Each is told of once."""
    absences: Mapping[EpisodeId, Absence] = field(default_factory=dict)
    """Counters that changed."""
    suppressions: Mapping[EpisodeId, str] = field(default_factory=dict)
    """What changed: by what it is suppressed now; empty where that was lifted."""


def reconcile(
    episodes: Sequence[KnownEpisode], views: Sequence[PeerView | None], *, at: datetime, at_once: bool = False
) -> Repairs:
    """`views` has one entry a configured peer, None for one that did not answer; `at` is when the polls began.
    `at_once`: what is unknown was due already, for a webhook left alerts out."""
    heard = [view for view in views if view is not None]
    listed = {fingerprint for view in heard for fingerprint in view.sightings}
    absences = _absences(episodes, listed, at) if _proves_absence(views) else _returns(episodes, listed)
    patience = timedelta() if all(view.up_for is not None for view in heard) else RESTART_SHADOW
    ever_listed = {episode.id for episode in episodes if episode.is_listed}
    return Repairs(
        unknown=_unknown(heard, {episode.fingerprint for episode in episodes}, at=at, at_once=at_once),
        restarted=tuple(episode.fingerprint for episode in episodes if _began_anew(episode, heard)),
        gone=tuple(i for i, absence in absences.items() if i in ever_listed and _is_gone(absence, at, patience)),
        listed=tuple(e.id for e in episodes if not e.is_listed and e.fingerprint in listed),
        foreign=tuple(
            i for i, absence in absences.items() if i not in ever_listed and absence.polls == FOREIGN_AFTER_POLLS
        ),
        absences=absences,
        suppressions=_suppressions(episodes, heard),
    )


def _unknown(
    views: Sequence[PeerView], open_here: Collection[Fingerprint], *, at: datetime, at_once: bool
) -> tuple[Fingerprint, ...]:
    """What some peer would notify: others may not know of a silence any more. One that has just started may not know
    of it yet, nor of what inhibits: it does not overrule those who have seen more."""
    held = {f for view in views if not view.is_young for f, seen in view.sightings.items() if seen.suppressed_by}
    found: dict[Fingerprint, None] = {}
    for view in views:
        for fingerprint, seen in view.sightings.items():
            is_told = seen.routed_to_us and not seen.suppressed_by and not seen.may_be_muted
            if not is_told or fingerprint in open_here or (view.is_young and fingerprint in held):
                continue
            if at_once or _has_waited(fingerprint, view, at):
                found[fingerprint] = None
    return tuple(found)


def _has_waited(fingerprint: Fingerprint, view: PeerView, at: datetime) -> bool:
    """By the peer's own clock. A start further ahead of it than that is some other clock's, and says nothing."""
    starts_at = view.starts.get(fingerprint)
    return starts_at is None or abs((view.told_at or at) - starts_at) >= view.waits


def _began_anew(episode: KnownEpisode, views: Iterable[PeerView]) -> bool:
    return any(view.starts.get(episode.fingerprint, episode.starts_at) > episode.starts_at for view in views)


def _proves_absence(views: Sequence[PeerView | None]) -> bool:
    return bool(views) and all(view is not None and view.is_whole and not view.is_young for view in views)


def _absences(
    episodes: Iterable[KnownEpisode], listed: Collection[Fingerprint], at: datetime
) -> dict[EpisodeId, Absence]:
    changed = _returns(episodes, listed)
    for episode in episodes:
        told_since = episode.last_seen_at >= at  # a webhook came while the peers were asked
        if episode.fingerprint not in listed and not told_since and not _is_known_to_be_foreign(episode):
            changed[episode.id] = _missed_again(episode, at)
    return changed


def _is_known_to_be_foreign(episode: KnownEpisode) -> bool:
    """Counting on would write its row with every poll for as long as it fires."""
    return not episode.is_listed and episode.missed_polls >= FOREIGN_AFTER_POLLS


def _returns(episodes: Iterable[KnownEpisode], listed: Collection[Fingerprint]) -> dict[EpisodeId, Absence]:
    return {e.id: PRESENT for e in episodes if e.missed_polls and e.fingerprint in listed}


def _missed_again(episode: KnownEpisode, at: datetime) -> Absence:
    """A webhook since the first miss says that the alert fired after it: the count starts afresh. Of one that was never
    listed that says nothing: whoever tells of it may not be asked."""
    since = episode.missed_since
    if since is None or (episode.is_listed and episode.last_seen_at > since):
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
