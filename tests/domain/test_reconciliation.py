"""What a poll proves, and what it does not."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.domain.ids import EpisodeId, Fingerprint
from remediator.domain.reconciliation import (
    FOREIGN_AFTER_POLLS,
    GONE_AFTER_POLLS,
    PRESENT,
    RESTART_SHADOW,
    Absence,
    KnownEpisode,
    PeerView,
    Sighting,
    reconcile,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
OLD, NEW = timedelta(hours=1), timedelta(minutes=14)
POLL = timedelta(seconds=30)
OURS, THEIRS = Sighting(routed_to_us=True), Sighting(routed_to_us=False)
SILENCED = Sighting(routed_to_us=True, suppressed_by="silence 1")
PERHAPS_MUTED = Sighting(routed_to_us=True, may_be_muted=True)
WAIT = timedelta(seconds=30)
THERE = NOW + timedelta(minutes=10)
"""By a clock of somebody else's."""
A = Fingerprint("a")


def view(up_for: timedelta | None = OLD, *, is_whole: bool = True, **sightings: Sighting) -> PeerView:
    return PeerView({Fingerprint(name): seen for name, seen in sightings.items()}, up_for, is_whole)


def since(ago: timedelta) -> PeerView:
    """It lists our alert, which began so long ago."""
    return replace(view(a=OURS), starts={A: NOW - ago})


def episode(**changes: object) -> KnownEpisode:
    known = KnownEpisode(EpisodeId(1), A, NOW - OLD, NOW - OLD, is_listed=True)
    return replace(known, **changes)  # type: ignore[arg-type]


def missed(polls: int, since: timedelta = timedelta(minutes=2)) -> KnownEpisode:
    return episode(missed_polls=polls, missed_since=NOW - since)


@pytest.mark.parametrize(
    ("views", "opened"),
    [
        pytest.param([view(a=OURS)], True, id="it fires and is routed to us"),
        pytest.param([view(), view(a=OURS)], True, id="one peer of two knows it"),
        pytest.param([None, view(a=OURS)], True, id="the other peer does not answer"),
        pytest.param([view(a=OURS, is_whole=False)], True, id="a neighbour could not be read"),
        pytest.param([view(timedelta(seconds=1), a=OURS)], True, id="the peer has just started"),
        pytest.param([view(a=SILENCED), view(a=OURS)], True, id="one peer does not know of the silence"),
        pytest.param([view(a=SILENCED)], False, id="silenced"),
        pytest.param([view(a=PERHAPS_MUTED)], False, id="a mute time may hold it back, and nobody says so"),
        pytest.param([view(a=PERHAPS_MUTED), view(a=OURS)], True, id="another peer says that none does"),
        pytest.param([view(a=SILENCED), view(NEW, a=OURS)], False, id="one that has just started knows of no silence"),
        pytest.param([view(NEW, a=SILENCED), view(NEW, a=OURS)], True, id="both have just started"),
        pytest.param([view(None, a=SILENCED), view(NEW, a=OURS)], False, id="the one who knows hides its start"),
        pytest.param([view(a=SILENCED), view(NEW, a=OURS), view(a=OURS)], True, id="a third, an old one, would tell"),
        pytest.param([view(a=THEIRS)], False, id="routed to somebody else"),
        pytest.param([], False, id="nobody to ask"),
        pytest.param([None], False, id="nobody answers"),
    ],
)
def test_what_fires_there_and_is_unknown_here_is_opened(views: Sequence[PeerView | None], opened: bool) -> None:
    assert (reconcile([], views, at=NOW).unknown == (A,)) is opened


@pytest.mark.parametrize(
    ("starts_at", "opened"),
    [
        pytest.param(THERE - WAIT, True, id="group_wait has passed"),
        pytest.param(THERE - WAIT + timedelta(seconds=1), False, id="it has not"),
        pytest.param(THERE, False, id="it has just begun"),
        pytest.param(THERE + timedelta(seconds=5), False, id="by a clock that is a little ahead, it has yet to begin"),
        pytest.param(THERE + OLD, True, id="by a clock that is far ahead: its start says nothing"),
        pytest.param(datetime.min.replace(tzinfo=UTC), True, id="since ever: its start cannot be read"),
    ],
)
def test_what_its_sender_may_keep_to_itself_yet_is_not_opened(starts_at: datetime, opened: bool) -> None:
    """By the peer's own clock, whatever ours says."""
    waits = replace(view(a=OURS), starts={A: starts_at}, told_at=THERE, waits=WAIT)

    assert (reconcile([], [waits], at=NOW).unknown == (A,)) is opened
    assert reconcile([], [waits], at=NOW, at_once=True).unknown == (A,)


def test_a_peer_that_tells_no_time_is_held_against_ours() -> None:
    young = replace(view(a=OURS), starts={A: NOW - POLL + timedelta(seconds=1)}, waits=WAIT)

    assert reconcile([], [young], at=NOW).unknown == ()
    assert reconcile([], [young], at=NOW + timedelta(seconds=1)).unknown == (A,)


@pytest.mark.parametrize(
    ("known", "views", "gone"),
    [
        pytest.param(missed(2), [view()], True, id="the third poll without it"),
        pytest.param(missed(2), [view(), view()], True, id="no peer has it"),
        pytest.param(missed(7), [view()], True, id="closing failed before"),
        pytest.param(episode(), [view()], False, id="the first"),
        pytest.param(missed(1), [view()], False, id="the second"),
        pytest.param(missed(2), [view(), view(a=OURS)], False, id="one peer still has it"),
        pytest.param(missed(2), [view(), None], False, id="one peer does not answer"),
        pytest.param(missed(2), [], False, id="nobody is asked"),
        pytest.param(missed(2), [view(), view(is_whole=False)], False, id="one list was read in part"),
        pytest.param(missed(2), [view(), view(NEW)], False, id="one peer has just started"),
        pytest.param(replace(missed(2), is_listed=False), [view()], False, id="no peer ever had it"),
        pytest.param(missed(2), [view(a=THEIRS)], False, id="it was routed away and fires on"),
        pytest.param(missed(2), [view(a=SILENCED)], False, id="it is silenced and fires on"),
        pytest.param(missed(2), [view(None)], False, id="a peer that hides its start, two minutes"),
        pytest.param(missed(9, RESTART_SHADOW), [view(None)], True, id="a peer that hides its start, fifteen minutes"),
        pytest.param(replace(missed(2), last_seen_at=NOW), [view()], False, id="a webhook came meanwhile"),
        pytest.param(
            replace(missed(2), last_seen_at=NOW - timedelta(minutes=1)), [view()], False, id="a webhook came between"
        ),
    ],
)
def test_only_proof_of_absence_closes(known: KnownEpisode, views: Sequence[PeerView | None], gone: bool) -> None:
    assert (reconcile([known], views, at=NOW).gone == (known.id,)) is gone


@pytest.mark.parametrize(
    ("views", "restarted"),
    [
        pytest.param([since(POLL)], True, id="it began anew"),
        pytest.param([since(OLD), since(POLL)], True, id="one peer of two knows it"),
        pytest.param([since(POLL), since(OLD), None], True, id="the other peers do not"),
        pytest.param([since(OLD)], False, id="it goes on"),
        pytest.param([since(2 * OLD)], False, id="it began earlier than we thought"),
        pytest.param([view(a=SILENCED)], False, id="nobody would tell us of it"),
        pytest.param([None], False, id="nobody answers"),
    ],
)
def test_what_is_open_and_began_anew_is_told_of(views: Sequence[PeerView | None], restarted: bool) -> None:
    repairs = reconcile([episode()], views, at=NOW)

    assert (repairs.unknown, repairs.restarted) == ((), (A,) if restarted else ())


def test_a_webhook_since_the_first_miss_starts_the_count_afresh() -> None:
    known = replace(missed(2), last_seen_at=NOW - timedelta(minutes=1))

    assert reconcile([known], [view()], at=NOW).absences == {known.id: Absence(1, NOW)}


def test_what_no_peer_ever_listed_is_told_of_once_and_never_closed() -> None:
    """Its sender, which nobody polls, repeats it meanwhile."""
    known = replace(episode(), is_listed=False)
    told: list[int] = []
    for number in range(1, 40):
        repairs = reconcile([known], [view()], at=NOW + number * POLL)
        absence = repairs.absences.get(known.id, Absence(known.missed_polls, known.missed_since))
        known = replace(
            known, missed_polls=absence.polls, missed_since=absence.since, last_seen_at=NOW + number * POLL - WAIT / 2
        )
        told += [number] * len(repairs.foreign)
        assert repairs.gone == ()

    assert told == [FOREIGN_AFTER_POLLS]
    assert reconcile([known], [view()], at=NOW + 99 * POLL).absences == {}


def test_what_is_listed_for_the_first_time_is_noted_whoever_it_is_routed_to() -> None:
    known = replace(missed(4), is_listed=False)

    repairs = reconcile([known], [view(), view(a=THEIRS)], at=NOW)

    assert (repairs.listed, repairs.absences) == ((known.id,), {known.id: PRESENT})
    assert reconcile([replace(known, is_listed=True)], [view(a=OURS)], at=NOW).listed == ()


def test_an_alert_that_is_listed_again_is_no_longer_missed() -> None:
    known = missed(2)

    assert reconcile([known], [view(a=OURS), None], at=NOW).absences == {known.id: PRESENT}


@pytest.mark.parametrize(
    ("was", "views", "changed"),
    [
        pytest.param("", [view(a=SILENCED)], {EpisodeId(1): "silence 1"}, id="silenced"),
        pytest.param("", [view(a=OURS), view(a=SILENCED)], {EpisodeId(1): "silence 1"}, id="by one peer's word"),
        pytest.param("silence 1", [view(a=OURS)], {EpisodeId(1): ""}, id="lifted"),
        pytest.param("silence 1", [view(a=OURS), None], {EpisodeId(1): ""}, id="lifted, though one does not answer"),
        pytest.param("silence 0", [view(a=SILENCED)], {EpisodeId(1): "silence 1"}, id="another silence"),
        pytest.param("silence 1", [view(a=SILENCED)], {}, id="as before"),
        pytest.param("silence 1", [view()], {}, id="nobody lists it"),
        pytest.param("silence 1", [None], {}, id="nobody answers"),
    ],
)
def test_a_silence_is_kept_with_the_episode_and_lifted(
    was: str, views: Sequence[PeerView | None], changed: dict[EpisodeId, str]
) -> None:
    assert reconcile([episode(suppressed_by=was)], views, at=NOW).suppressions == changed


FINGERPRINTS = st.sampled_from([Fingerprint(name) for name in "abcdef"])
SIGHTINGS = st.builds(Sighting, st.booleans(), st.sampled_from(["", "silence 1", "silence 2"]))
VIEWS = st.lists(
    st.none()
    | st.builds(
        PeerView,
        st.dictionaries(FINGERPRINTS, SIGHTINGS),
        st.none() | st.timedeltas(min_value=timedelta(), max_value=timedelta(minutes=20)),
        st.booleans(),
    ),
    max_size=3,
)
MOMENTS = st.timedeltas(min_value=timedelta(minutes=-1), max_value=timedelta(minutes=20)).map(lambda age: NOW - age)
EPISODES = st.lists(
    st.builds(
        KnownEpisode,
        st.integers(1, 10**6).map(EpisodeId),
        FINGERPRINTS,
        MOMENTS,
        MOMENTS,
        st.integers(0, 5),
        st.none() | MOMENTS,
        st.sampled_from(["", "silence 1"]),
        st.booleans(),
    ),
    max_size=6,
    unique_by=(lambda e: e.id, lambda e: e.fingerprint),
)


@given(EPISODES, VIEWS)
def test_nothing_is_closed_that_anybody_lists_or_while_anybody_is_silent_or_young(
    episodes: list[KnownEpisode], views: list[PeerView | None]
) -> None:
    repairs = reconcile(episodes, views, at=NOW)

    listed = {f for v in views if v is not None for f in v.sightings}
    assert not listed & {e.fingerprint for e in episodes if e.id in repairs.gone}
    assert not [e for e in episodes if e.id in repairs.gone and not e.is_listed]
    if any(v is None or not v.is_whole or (v.up_for is not None and v.up_for < RESTART_SHADOW) for v in views):
        assert repairs.gone == ()


@given(EPISODES, VIEWS)
def test_nothing_is_opened_that_is_open_or_that_every_peer_suppresses(
    episodes: list[KnownEpisode], views: list[PeerView | None]
) -> None:
    unknown = reconcile(episodes, views, at=NOW).unknown

    seen = {f: [v.sightings[f] for v in views if v is not None and f in v.sightings] for f in unknown}
    assert not set(unknown) & {e.fingerprint for e in episodes}
    assert all(any(s.routed_to_us and not s.suppressed_by for s in sightings) for sightings in seen.values())


@given(EPISODES, VIEWS)
def test_what_was_written_down_changes_nothing_when_the_same_is_seen_again(
    episodes: list[KnownEpisode], views: list[PeerView | None]
) -> None:
    """A second round on the same lists only counts absences on; no suppression flickers."""
    repairs = reconcile(episodes, views, at=NOW)
    written = [replace(e, suppressed_by=repairs.suppressions.get(e.id, e.suppressed_by)) for e in episodes]

    assert reconcile(written, views, at=NOW + POLL).suppressions == {}


@given(EPISODES, st.integers(GONE_AFTER_POLLS, 12))
def test_an_alert_that_stays_away_is_closed_in_the_third_poll_and_not_before(
    episodes: list[KnownEpisode], polls: int
) -> None:
    known = [replace(e, last_seen_at=NOW - OLD, missed_polls=0, missed_since=None, is_listed=True) for e in episodes]
    closed_in: dict[EpisodeId, int] = {}
    for number in range(1, polls + 1):
        repairs = reconcile(known, [view()], at=NOW + number * POLL)
        known = [
            replace(e, missed_polls=repairs.absences[e.id].polls, missed_since=repairs.absences[e.id].since)
            for e in known
        ]
        for gone in repairs.gone:
            closed_in.setdefault(gone, number)

    assert closed_in == {e.id: GONE_AFTER_POLLS for e in episodes}
