"""Tables kept by time, in pieces: which pieces must exist ahead of the clock, and which are past their time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum


class Period(StrEnum):
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Span:
    """From `starts`, up to but without `ends`; in UTC, from midnight to midnight."""

    starts: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Partition:
    name: str
    starts: datetime | None
    """None: from ever."""
    ends: datetime | None
    """None: the default one, for rows that no other partition takes."""


def span_at(period: Period, moment: datetime) -> Span:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if period is Period.WEEK:
        monday = midnight - timedelta(days=midnight.weekday())
        return Span(monday, monday + timedelta(weeks=1))
    first = midnight.replace(day=1)
    return Span(first, (first + timedelta(days=32)).replace(day=1))


def missing_ahead(
    period: Period, existing: Sequence[Partition], now: datetime, *, spans_ahead: int
) -> tuple[Span, ...]:
    """What must be made so that the present and so many spans after it have a partition. A span that one touches is
    not missing: the database takes no second one for any part of it."""
    spans = [span_at(period, now)]
    for _ in range(spans_ahead):
        spans.append(span_at(period, spans[-1].ends))
    return tuple(span for span in spans if not any(_touches(p, span) for p in existing))


def past(existing: Sequence[Partition], now: datetime, *, kept_for: timedelta) -> tuple[Partition, ...]:
    """Those that hold nothing young enough to be kept, the oldest first."""
    over = [p for p in existing if p.ends is not None and p.ends <= now - kept_for]
    return tuple(sorted(over, key=lambda p: p.ends or now))


def spans_left(period: Period, existing: Sequence[Partition], now: datetime) -> int:
    """How many whole spans after the present one have a partition already, up to the first that has none."""
    left, span = 0, span_at(period, now)
    covered_until = _covered_from(span.ends, existing)
    while (span := span_at(period, span.ends)).ends <= covered_until:
        left += 1
    return left


def _touches(partition: Partition, span: Span) -> bool:
    starts, ends = partition.starts, partition.ends
    return ends is not None and span.starts < ends and (starts is None or starts < span.ends)


def _covered_from(moment: datetime, existing: Sequence[Partition]) -> datetime:
    """Up to when one partition follows another without a hole."""
    bounded = [(p.starts, p.ends) for p in existing if p.ends is not None]
    for starts, ends in sorted(bounded, key=lambda bounds: bounds[1]):
        if ends > moment and (starts is None or starts <= moment):
            moment = ends
    return moment
