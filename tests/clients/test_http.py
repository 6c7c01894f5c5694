"""How long a server asks us to wait."""

import pytest

from remediator.clients.http import retry_after

NOON = "Sun, 01 Mar 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        pytest.param("7", 7, id="seconds"),
        pytest.param("Sun, 01 Mar 2026 12:00:20 GMT", 20, id="a date"),
        pytest.param("Sun, 01 Mar 2026 11:59:00 GMT", 0, id="a date gone by"),
        pytest.param("999999", 86_400, id="very long"),
        pytest.param("9" * 5_000, 86_400, id="longer than a number can be read"),
        pytest.param("Sun, 01 Mar 9999 12:00:00 GMT", 86_400, id="a date far away"),
        pytest.param("-5", None, id="less than nothing"),
        pytest.param("Sun, 01 Mar 99999 12:00:00 GMT", None, id="no date"),
        pytest.param("Sun, 01 Mar 2026 12:00:20", 20, id="a date without a zone"),
        pytest.param("later", None, id="a word"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_a_wait_is_read_in_seconds_and_as_a_date_of_the_servers_clock(asked: str, seconds: float | None) -> None:
    assert retry_after({"Retry-After": asked, "Date": NOON}) == seconds


def test_without_a_date_of_the_servers_ours_counts() -> None:
    assert retry_after({"Retry-After": "Sun, 01 Mar 2026 12:00:20 GMT"}) == 0
