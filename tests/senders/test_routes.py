"""When a receiver is told of an alert, as its routes say."""

from datetime import timedelta

import pytest

from remediator.language.foreign_yaml import load_foreign
from remediator.senders.routes import Reception, reception_of


def reception(text: str) -> Reception:
    return reception_of(load_foreign(text, "am.yml"), "us")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("{ receiver: us }", 30, id="by default"),
        pytest.param("{ receiver: us, group_wait: 5s }", 5, id="its own"),
        pytest.param(
            "{ receiver: none, group_wait: 5s, routes: [{ receiver: us, match: { a: b } }] }", 5, id="inherited"
        ),
        pytest.param(
            "{ receiver: us, group_wait: 5s, routes: [{ match: { a: b }, group_wait: 1m }] }",
            60,
            id="the longest counts",
        ),
        pytest.param(
            "{ receiver: us, group_wait: 5s, routes: [{ receiver: them, match: { a: b }, group_wait: 1m }] }",
            5,
            id="others' do not",
        ),
        pytest.param(
            "{ receiver: none, group_wait: 5s, routes: [{ receiver: us }, { receiver: us, group_wait: 1m }] }",
            60,
            id="one that is never reached counts too",
        ),
        pytest.param("{ receiver: us, group_wait: soon }", 30, id="it cannot be read"),
        pytest.param("{ receiver: them, group_wait: 5s }", 30, id="no route leads to us"),
        pytest.param("none", 30, id="no routes at all"),
    ],
)
def test_how_long_an_alert_may_be_kept_to_itself(text: str, seconds: float) -> None:
    assert reception(f"route: {text}").group_wait == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "has"),
    [
        pytest.param("{ receiver: us }", False, id="none"),
        pytest.param("{ receiver: none, routes: [{ receiver: us, mute_time_intervals: [nights] }] }", True, id="muted"),
        pytest.param(
            "{ receiver: none, routes: [{ receiver: us, active_time_intervals: [days] }] }", True, id="active"
        ),
        pytest.param(
            "{ receiver: us, routes: [{ match: { a: b }, mute_time_intervals: [nights] }] }", True, id="one of two"
        ),
        pytest.param(
            "{ receiver: none, routes: [{ mute_time_intervals: [nights], match: { a: b }, routes: "
            "[{ receiver: us, match: { c: d } }] }] }",
            False,
            id="they are not inherited",
        ),
        pytest.param(
            "{ receiver: us, routes: [{ receiver: them, match: { a: b }, mute_time_intervals: [nights] }] }",
            False,
            id="others'",
        ),
    ],
)
def test_whether_times_are_named_in_which_it_is_told_nothing(text: str, has: bool) -> None:
    assert reception(f"route: {text}").has_mute_times is has
