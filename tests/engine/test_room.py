"""Memory is bounded whatever arrives, and a flood of one source leaves room for the others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.domain.errors import Overloaded
from remediator.domain.ids import SourceName
from remediator.engine.room import Room

AM, GRAFANA = SourceName("am"), SourceName("grafana")


def test_a_flood_of_one_source_is_refused_while_another_finds_room() -> None:
    room = Room(100)
    with room.hold(AM, 50), room.hold(AM, 25):
        with pytest.raises(Overloaded, match="am's alerts"), room.hold(AM, 1):
            pass
        with room.hold(GRAFANA, 25):
            assert room.held == 100


def test_a_source_that_holds_nothing_may_send_one_body_of_any_size() -> None:
    room = Room(100)
    with room.hold(AM, 75), room.hold(GRAFANA, 64):
        assert room.held == 139


def test_a_body_of_unknown_length_is_refused_while_it_grows() -> None:
    room = Room(100)
    with room.hold(AM, 0) as hold:
        hold.grow(75)
        with pytest.raises(Overloaded):
            hold.grow(1)
    assert room.held == 0


@given(st.lists(st.tuples(st.sampled_from([AM, GRAFANA]), st.integers(0, 60)), max_size=30))
def test_what_is_held_never_passes_the_bound_and_is_given_back(bodies: list[tuple[SourceName, int]]) -> None:
    room = Room(100)
    holds = []
    for source, size in bodies:
        hold = room.hold(source, size)
        try:
            hold.__enter__()
        except Overloaded:
            continue
        holds.append(hold)
        assert room.held <= 100 + 2 * 60
    for hold in holds:
        hold.__exit__(None, None, None)
    assert room.held == 0
