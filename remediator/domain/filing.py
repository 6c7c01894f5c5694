"""What a batch of delivered alerts changes, decided before anything is written.

`domain/episode.py` judges one alert; here a batch is read in the order told, each alert on what those before it left.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Generic, TypeVar

import msgspec

from remediator.domain.alert import Alert
from remediator.domain.episode import EndedEpisode, Filing, OpenEpisode, file_alert
from remediator.domain.ids import AlertKey, EpisodeId
from remediator.domain.opening import Opening

_UNBORN = EpisodeId(0)
_JUST_BORN = OpenEpisode(_UNBORN, datetime.min.replace(tzinfo=UTC))

Key = TypeVar("Key")
Value = TypeVar("Value")


class Book(msgspec.Struct):
    """What is known of one alert, updated in memory as the batch is read."""

    open_episode: OpenEpisode | None = None
    last_ended: EndedEpisode | None = None
    seen_lately: bool = False
    born: "Birth | None" = None
    """An episode of this batch that is still open."""


class Birth(msgspec.Struct):
    alert: Alert
    starts_at: datetime
    opening: Opening | None = None
    ended_by: Alert | None = None
    incident: int | None = None


@dataclass(slots=True)
class Changes:
    births: list[Birth] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    restarts: dict[int, datetime] = field(default_factory=dict)
    """Open episodes that fire again, and since when: they ended meanwhile, and nobody told us."""
    ends: dict[int, Alert] = field(default_factory=dict)
    ends_in: set[int] = field(default_factory=set)
    """The incidents of those."""
    ends_of_nothing: list[Alert] = field(default_factory=list)
    """Kept, so that the firing that belongs to it is known for stale when it comes after all."""
    filings: Counter[Filing] = field(default_factory=Counter)

    @property
    def is_quiet(self) -> bool:
        """Nothing ends or begins again, and nobody opens an incident."""
        if self.ends or self.restarts or self.ends_of_nothing:
            return False
        return all(birth.opening is None and birth.ended_by is None for birth in self.births)


class Recent(Generic[Key, Value]):
    """Remembers what was noted or asked for lately: at least `most` of the latest, and at most twice as many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lately: dict[Key, Value] = {}
        self._before: dict[Key, Value] = {}

    def get(self, key: Key) -> Value | None:
        found = self._lately.get(key)
        if found is None:
            found = self._before.get(key)
            if found is not None:
                self.note(key, found)
        return found

    def note(self, key: Key, value: Value) -> None:
        if len(self._lately) >= self._most:
            self._lately, self._before = {}, self._lately
        self._lately[key] = value

    def forget(self, key: Key) -> None:
        self._lately.pop(key, None)
        self._before.pop(key, None)


class Familiar:
    """Open episodes of alerts, and run keys of open incidents, as we last heard of them. A guess that saves a look-up,
    or what it would bring; nobody relies on it: either may be closed meanwhile, by whichever replica."""

    def __init__(self, most: int = 20_000) -> None:
        self._episodes: Recent[AlertKey, OpenEpisode] = Recent(most)
        self._run_keys: Recent[str, bool] = Recent(most)

    def knows(self, key: AlertKey) -> bool:
        return self._episodes.get(key) is not None

    def knows_incident(self, run_key: str) -> bool:
        return self._run_keys.get(run_key) is not None

    def open_episodes(self, alerts: Iterable[Alert]) -> set[EpisodeId]:
        """Those of all the alerts, where each of them goes on firing; where there is more to one of them, none."""
        episodes: set[EpisodeId] = set()
        for alert in alerts:
            episode = self._episodes.get(alert.key)
            if episode is None or episode.id == _UNBORN or not alert.is_firing or alert.starts_at > episode.starts_at:
                return set()
            episodes.add(episode.id)
        return episodes

    def learn(
        self, books: Mapping[AlertKey, Book], born: Iterable[AlertKey] = (), run_keys: Iterable[str] = ()
    ) -> None:
        """`born`: whose episodes are open, with numbers that we have not heard. `run_keys`: of the incidents that were
        opened or joined."""
        for key, book in books.items():
            if book.open_episode is not None:
                self._episodes.note(key, book.open_episode)
            else:
                self._episodes.forget(key)
        for key in born:
            self._episodes.note(key, _JUST_BORN)
        for run_key in run_keys:
            self._run_keys.note(run_key, True)


def decide(alerts: Sequence[Alert], books: MutableMapping[AlertKey, Book], now: datetime) -> Changes:
    """Every alert of the batch in the order told. `books` are what is known of them, and are kept up to date."""
    changes = Changes()
    for alert in alerts:
        book = books.setdefault(alert.key, Book())
        filing = file_alert(alert, open_episode=book.open_episode, last_ended=book.last_ended, now=now)
        changes.filings[filing] += 1
        if filing is Filing.OPEN:
            book.born = Birth(alert, alert.starts_at)
            book.open_episode = OpenEpisode(_UNBORN, alert.starts_at)
            changes.births.append(book.born)
        elif filing is Filing.REFRESH and book.open_episode is not None:
            _note_firing(alert, book, book.open_episode, changes=changes)
        elif filing is Filing.CLOSE and book.open_episode is not None:
            if book.born is not None:
                book.born.ended_by = alert
            else:
                changes.ends[book.open_episode.id] = alert
                if book.open_episode.incident is not None:
                    changes.ends_in.add(book.open_episode.incident)
            book.last_ended = EndedEpisode(alert.ends_at or now, now)
            book.open_episode = book.born = None
        elif filing is Filing.UNKNOWN and _is_news(alert, book.last_ended):
            changes.ends_of_nothing.append(alert)
            book.last_ended = EndedEpisode(alert.ends_at or now, now)
    return changes


def _note_firing(alert: Alert, book: Book, episode: OpenEpisode, *, changes: Changes) -> None:
    """A later start counts from here on: an end before it is not this firing's end, however late it comes."""
    if alert.starts_at > episode.starts_at:
        book.open_episode = OpenEpisode(episode.id, alert.starts_at, episode.incident)
        if book.born is not None:
            book.born.starts_at = alert.starts_at
        else:
            changes.restarts[episode.id] = alert.starts_at
    elif not book.seen_lately and book.born is None:
        changes.seen.add(episode.id)


def _is_news(end: Alert, last_ended: EndedEpisode | None) -> bool:
    return last_ended is None or (end.ends_at is not None and end.ends_at > last_ended.ends_at)
