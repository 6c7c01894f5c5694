"""Numbers as other systems tell them, on their way into facts."""

from decimal import Decimal


def number_of(told: object) -> float | None:
    """None where it is no number: text, a truth value. Never 0 instead, on which a rule would decide."""
    if isinstance(told, bool) or not isinstance(told, int | float | Decimal):
        return None
    return float(told)
