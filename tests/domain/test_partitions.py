"""Spans of time without gaps or overlaps, made before they are needed and dropped after."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.domain.partition import Partition, Period, missing_ahead, past, span_at, spans_left

MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
PERIODS = st.sampled_from(Period)
NOW = datetime(2026, 11, 25, 9, 30, tzinfo=UTC)
DEFAULT = Partition("default", None, None)


def day(month: int, number: int, year: int = 2026) -> datetime:
    return datetime(year, month, number, tzinfo=UTC)


@given(PERIODS, MOMENTS)
def test_every_moment_is_in_its_span_and_the_next_span_follows_at_once(period: Period, moment: datetime) -> None:
    span = span_at(period, moment)

    assert span.starts <= moment < span.ends
    assert span_at(period, span.ends).starts == span.ends


@given(PERIODS, MOMENTS, st.integers(0, 5), st.integers(0, 400))
def test_what_was_made_is_never_made_again_and_the_present_is_always_covered(
    period: Period, now: datetime, ahead: int, days: int
) -> None:
    made = missing_ahead(period, [DEFAULT], now, spans_ahead=ahead)
    existing = [Partition("p", span.starts, span.ends) for span in made]
    later = missing_ahead(period, existing, now + timedelta(days=days), spans_ahead=ahead)

    assert made[0].starts <= now < made[0].ends
    assert missing_ahead(period, existing, now, spans_ahead=ahead) == ()
    assert all(span.starts >= made[-1].ends for span in later)
    assert spans_left(period, existing, now) == ahead


WEEKS = [Partition(f"week {n}", day(11, 23) + timedelta(weeks=n), day(11, 30) + timedelta(weeks=n)) for n in range(60)]
"""From the present one on."""


def test_a_span_far_ahead_hides_no_hole_before_it() -> None:
    """A clock that was a year ahead for one round makes the weeks of next year."""
    existing = [DEFAULT, *WEEKS[:2], *WEEKS[52:55]]

    assert spans_left(Period.WEEK, existing, NOW) == 1
    assert [span.starts for span in missing_ahead(Period.WEEK, existing, NOW, spans_ahead=2)] == [WEEKS[2].starts]


def test_a_span_that_has_a_partition_in_part_is_not_made_and_not_counted() -> None:
    halved = Partition("half a week", WEEKS[1].starts, day(12, 3))
    existing = [DEFAULT, WEEKS[0], halved, WEEKS[2]]

    assert missing_ahead(Period.WEEK, existing, NOW, spans_ahead=2) == ()
    assert spans_left(Period.WEEK, existing, NOW) == 0


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    week, month = span_at(Period.WEEK, NOW), span_at(Period.MONTH, NOW)

    assert (week.starts, week.ends) == (day(11, 23), day(11, 30))
    assert (month.starts, month.ends) == (day(11, 1), day(12, 1))


@pytest.mark.parametrize(
    ("kept_days", "gone"), [(1, ["october", "early november"]), (20, ["october"]), (60, [])], ids=str
)
def test_a_partition_is_past_when_its_youngest_row_is(kept_days: int, gone: list[str]) -> None:
    parts = [
        DEFAULT,
        Partition("late november", day(11, 23), day(11, 30)),
        Partition("early november", day(11, 1), day(11, 23)),
        Partition("october", None, day(11, 1)),
    ]

    assert [p.name for p in past(parts, NOW, kept_for=timedelta(days=kept_days))] == gone
