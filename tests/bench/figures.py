"""What was measured, each figure beside its floor, and how it is shown."""

import statistics
from collections.abc import Sequence
from enum import StrEnum

import msgspec


class Unit(StrEnum):
    ALERTS = "alerts/s"
    INCIDENTS = "incidents/s"
    SECONDS = "s"
    MICROSECONDS = "µs"
    BYTES = "MB"
    PERCENT = "%"
    COUNT = ""

    @property
    def more_is_better(self) -> bool:
        return self.endswith("/s")


class Reading(msgspec.Struct, frozen=True):
    """One value in the figure's unit; latencies, where there are any, in seconds."""

    value: float
    p50: float | None = None
    p99: float | None = None
    longest: float | None = None


class Goal(msgspec.Struct, frozen=True):
    text: str
    met: bool


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    subject: str
    what: str
    unit: Unit
    ours: Reading
    floor: Reading | None = None
    floor_name: str = ""
    ratio: float | None = None
    """Ours to the floor: the median over pairs that ran one after the other."""
    bare: float | None = None
    """Rows a second of the bare insert, in the same run."""
    goal: Goal | None = None


def median_reading(readings: Sequence[Reading]) -> Reading:
    return Reading(
        statistics.median(reading.value for reading in readings),
        _median([reading.p50 for reading in readings]),
        _median([reading.p99 for reading in readings]),
        _median([reading.longest for reading in readings]),
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def table(figures: Sequence[Figure]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows, as people read them."""
    header = ("what", "ours", "p50 / p99 / longest", "floor", "floor's", "ratio", "of bare insert", "goal")
    return header, [_row(figure) for figure in figures]


def _row(figure: Figure) -> tuple[str, ...]:
    return (
        f"{figure.subject}: {figure.what}",
        shown(figure.ours.value, figure.unit),
        _latencies(figure.ours),
        shown(figure.floor.value, figure.unit) + _named(figure.floor_name) if figure.floor else "",
        _latencies(figure.floor),
        shown_ratio(figure),
        f"{figure.ours.value / figure.bare:.0%} of {figure.bare:,.0f}/s" if figure.bare else "",
        f"{figure.goal.text}: {'met' if figure.goal.met else 'missed'}" if figure.goal else "",
    )


def shown(value: float, unit: Unit) -> str:
    match unit:
        case Unit.SECONDS:
            return duration(value)
        case Unit.MICROSECONDS:
            return f"{value:.1f} µs"
        case Unit.BYTES:
            return f"{value / 1e6:.0f} MB"
        case Unit.PERCENT:
            return f"{value:.2f} %"
        case _:
            return f"{value:,.0f} {unit}".rstrip()


def shown_ratio(figure: Figure) -> str:
    if figure.ratio is None:
        return ""
    return f"{figure.ratio:.0%}" if figure.unit.more_is_better else f"{figure.ratio:.2f}x"


def duration(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms" if seconds < 1 else f"{seconds:,.2f} s"


def _latencies(reading: Reading | None) -> str:
    known = (reading.p50, reading.p99, reading.longest) if reading else ()
    return " / ".join(duration(seconds) for seconds in known if seconds is not None)


def _named(name: str) -> str:
    return f" ({name})" if name else ""
