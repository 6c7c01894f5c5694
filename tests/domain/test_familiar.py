"""Which alerts are taken for known: a guess, and one whose memory is bounded."""

from datetime import UTC, datetime

from remediator.domain.episode import OpenEpisode
from remediator.domain.filing import Book, Familiar
from remediator.domain.ids import AlertKey, EpisodeId, Fingerprint, SourceName

OPEN = Book(open_episode=OpenEpisode(EpisodeId(1), datetime.now(UTC)))


def key(number: int) -> AlertKey:
    return SourceName("am"), Fingerprint(f"{number:x}")


def test_an_alert_is_familiar_while_its_episode_is_open() -> None:
    familiar = Familiar()

    familiar.learn({key(1): OPEN, key(2): Book()})
    while_open = [key(number) in familiar for number in (1, 2, 3)]
    familiar.learn({key(1): Book()})

    assert (while_open, key(1) in familiar) == ([True, False, False], False)


def test_the_latest_are_remembered_and_no_more_than_twice_as_many() -> None:
    familiar = Familiar(most=10)
    for number in range(100):
        familiar.learn({key(number): OPEN})

    remembered = [number for number in range(100) if key(number) in familiar]

    assert remembered[-10:] == list(range(90, 100))
    assert len(remembered) <= 2 * 10 + 1
