"""What systems answer, as numbers that rules can compare."""

import sys
from datetime import timedelta
from decimal import Decimal

import pytest

from remediator.domain.number import number_in


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        (3, 3.0),
        (0.5, 0.5),
        (True, 1.0),
        pytest.param(Decimal("12.5"), 12.5, id="PostgreSQL's numeric: sums, averages, extract()"),
        pytest.param(timedelta(minutes=2), 120.0, id="PostgreSQL's interval"),
        pytest.param(b"42", 42.0, id="Redis' GET"),
        pytest.param(b"PONG", 0.0, id="text"),
        ("12", 0.0),
        (None, 0.0),
        (float("inf"), sys.float_info.max),
        (Decimal("-Infinity"), -sys.float_info.max),
        (float("nan"), 0.0),
        pytest.param(10**400, sys.float_info.max, id="larger than a float can be"),
    ],
)
def test_a_number_is_read_whatever_its_type(answer: object, number: float) -> None:
    assert number_in(answer) == number
