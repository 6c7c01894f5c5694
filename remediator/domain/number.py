"""Numbers as other systems tell them, on their way into facts.

Facts are kept as JSON, which writes an infinity as null: the next stage's `when: value > 0.5` would meet no value
exactly when things are worst, a rate whose denominator is 0.
"""

import math
import sys
from datetime import timedelta
from decimal import Decimal


def number_of(told: object) -> float | None:
    """None where it is no number: text, a truth value, NaN. Never 0 instead, on which a rule would decide. An interval
    is its seconds."""
    if isinstance(told, timedelta):
        return told.total_seconds()
    if isinstance(told, bool) or not isinstance(told, int | float | Decimal):
        return None
    value = finite(float(told))
    return None if math.isnan(value) else value


def finite(value: float) -> float:
    """Infinities become the largest numbers there are, which compare alike; NaN stays."""
    if math.isinf(value):
        return math.copysign(sys.float_info.max, value)
    return value
