"""Durations as Prometheus and Go write them: `15m`, `1h30m`, `500ms`, `2d`; `timedelta` everywhere else."""

import re
from datetime import timedelta
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from remediator.domain.errors import BadDocument

_MICROSECONDS: Final = {
    "y": 365 * 86_400_000_000,
    "w": 7 * 86_400_000_000,
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
}
_ORDER: Final = list(_MICROSECONDS)
_WRITTEN_UNITS: Final = ("d", "h", "m", "s", "ms", "us")
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|us|µs|[ywdhms])")
_SHAPE: Final = re.compile(rf"(?:{_PART.pattern})+")
_LONGEST_TEXT: Final = 64


class DurationError(BadDocument, ValueError):
    """It is not a duration such as 15m, 1h30m, 500ms or 2d."""


@lru_cache(maxsize=1024)
def parse_duration(text: str) -> timedelta:
    """Units go from large to small, each at most once, so that a slip such as `5m10h` is caught."""
    if text == "0":
        return timedelta(0)
    if len(text) > _LONGEST_TEXT or not _SHAPE.fullmatch(text):
        raise DurationError(f"{text[:_LONGEST_TEXT]!r} is not a duration: {_hint(text)}")
    total, last_rank = Fraction(0), -1
    for amount, written in _PART.findall(text):
        unit = "us" if written == "µs" else written
        if _ORDER.index(unit) <= last_rank:
            raise DurationError(f"{text!r} is not a duration: units go from large to small, each once, as in 1h30m")
        last_rank = _ORDER.index(unit)
        total += Fraction(amount) * _MICROSECONDS[unit]
    try:
        return timedelta(microseconds=round(total))
    except OverflowError:
        raise DurationError(f"{text!r} is longer than a duration can be") from None


def format_duration(duration: timedelta) -> str:
    """The shortest text that `parse_duration` reads back; a negative one gets a leading minus, for people only."""
    left = duration // timedelta(microseconds=1)
    if left < 0:
        return "-" + format_duration(-duration)
    parts = []
    for unit in _WRITTEN_UNITS:
        count, left = divmod(left, _MICROSECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _hint(text: str) -> str:
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return f"it has no unit, write {text}s or {text}m"
    if text.startswith("-"):
        return "it cannot be negative"
    return "write it like 15m, 1h30m, 500ms or 2d"


def _from_yaml(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str):
        return parse_duration(value)
    if value == 0 and isinstance(value, int) and not isinstance(value, bool):
        return timedelta(0)
    raise DurationError(f"{value!r} is not a duration: {_hint(str(value))}")


Duration = Annotated[
    timedelta,
    BeforeValidator(_from_yaml),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "format": "duration-go",
            "pattern": r"^(0|([0-9]+(\.[0-9]+)?(ms|us|µs|[ywdhms]))+)$",
            "examples": ["15m", "1h30m", "500ms", "2d"],
        }
    ),
]
"""A field of a rule or setting: `for: 15m` comes in, a `timedelta` is what the code sees, `15m` goes out."""


def between(shortest: timedelta, longest: timedelta, *, why: str = "") -> AfterValidator:
    """For a `Duration` with bounds, told as people write them. `why` also says what to do."""

    def check(value: timedelta) -> timedelta:
        if not shortest <= value <= longest:
            bounds = f"{format_duration(shortest)} and {format_duration(longest)}"
            raise ValueError(f"{format_duration(value)} is not between {bounds}{f': {why}' if why else ''}")
        return value

    return AfterValidator(check)
