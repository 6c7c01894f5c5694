"""Which alerts are taken for known: a guess, and one whose memory is bounded."""

from datetime import UTC, datetime, timedelta

import pytest

from remediator.domain.alert import Alert
from remediator.domain.episode import OpenEpisode
from remediator.domain.filing import Book, Familiar, Recent
from remediator.domain.ids import AlertKey, EpisodeId, Fingerprint, SourceName
from tests.store.facts import alert, resolved

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LATER = BEGAN + timedelta(minutes=1)


def key(fingerprint: str) -> AlertKey:
    return SourceName("am"), Fingerprint(fingerprint)


def open_since(began: datetime, *, number: int) -> Book:
    return Book(open_episode=OpenEpisode(EpisodeId(number), began))


def test_an_alert_is_familiar_while_its_episode_is_open() -> None:
    familiar = Familiar()

    familiar.learn({key("f1"): open_since(BEGAN, number=1), key("f2"): Book()}, born=[key("f3")])
    while_open = [familiar.knows(key(fingerprint)) for fingerprint in ("f1", "f2", "f3", "f4")]
    familiar.learn({key("f1"): Book()})

    assert (while_open, familiar.knows(key("f1"))) == ([True, False, True, False], False)


@pytest.mark.parametrize(
    ("told", "episodes"),
    [
        pytest.param([alert("f1", starts_at=BEGAN), alert("f2", starts_at=BEGAN)], {1, 2}, id="both go on firing"),
        pytest.param([alert("f1", starts_at=BEGAN), alert("f1", starts_at=BEGAN)], {1}, id="one, told twice"),
        pytest.param([alert("f2", starts_at=BEGAN)], {2}, id="one that began before we heard of it"),
        pytest.param([alert("f1", starts_at=BEGAN), alert("f2", starts_at=LATER + LATER.resolution)], set(), id="anew"),
        pytest.param([alert("f1", starts_at=BEGAN), resolved("f2", starts_at=BEGAN)], set(), id="one of them ends"),
        pytest.param([alert("f1", starts_at=BEGAN), alert("f4", starts_at=BEGAN)], set(), id="one is unknown"),
        pytest.param([alert("f1", starts_at=BEGAN), alert("f3", starts_at=BEGAN)], set(), id="one has no number yet"),
        pytest.param([], set(), id="none"),
    ],
)
def test_the_episodes_are_those_of_alerts_that_go_on_firing(told: list[Alert], episodes: set[int]) -> None:
    familiar = Familiar()
    books = {key("f1"): open_since(BEGAN, number=1), key("f2"): open_since(LATER, number=2)}
    familiar.learn(books, born=[key("f3")])

    assert familiar.open_episodes(told) == episodes


def test_the_latest_are_remembered_and_no_more_than_twice_as_many() -> None:
    recent: Recent[int, str] = Recent(most=10)
    recent.note(0, "asked for now and then")
    for number in range(1, 100):
        recent.note(number, "noted once")
        recent.get(0)

    remembered = [number for number in range(100) if recent.get(number)]

    assert {0, *range(91, 100)} <= set(remembered)
    assert len(remembered) <= 20
