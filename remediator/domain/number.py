"""Numbers as facts: what JSON can hold and an expression can compare."""

import math
import sys
from datetime import timedelta
from decimal import Decimal


def finite(value: float) -> float:
    """An error ratio over no requests is +Inf. JSON has no such number, and in an incident's facts it would be null
    just when things are at their worst: it stands there as the largest number."""
    return math.copysign(sys.float_info.max, value) if math.isinf(value) else value


def number_in(value: object) -> float:
    """What another system answered, as a number: an interval in seconds, true as 1, bytes as what they read; 0 where it
    is none."""
    match value:
        case int() | float() | Decimal():
            number = _float(value)
        case timedelta():
            number = value.total_seconds()
        case bytes():
            number = _read(value)
        case _:
            return 0.0
    return 0.0 if math.isnan(number) else finite(number)


def _float(value: float | Decimal) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _read(text: bytes) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
