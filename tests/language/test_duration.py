"""Durations are read as Prometheus and Go write them, and written back the same way."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from remediator.domain.errors import BadDocument
from remediator.language.duration import Duration, DurationError, format_duration, parse_duration


class Cooldown(BaseModel):
    lasts: Duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15m", timedelta(minutes=15)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("500ms", timedelta(milliseconds=500)),
        ("2d", timedelta(days=2)),
        ("1w", timedelta(weeks=1)),
        ("1y", timedelta(days=365)),
        ("1.5h", timedelta(minutes=90)),
        ("250us", timedelta(microseconds=250)),
        ("0", timedelta(0)),
        ("0s", timedelta(0)),
        ("1m500ms", timedelta(seconds=60, milliseconds=500)),
    ],
)
def test_a_duration_is_read_as_written(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "write it like 15m"),
        ("15", "it has no unit, write 15s or 15m"),
        ("-5m", "it cannot be negative"),
        ("5m10h", "units go from large to small"),
        ("5m5m", "units go from large to small"),
        ("5 m", "write it like 15m"),
        ("5M", "write it like 15m"),
        ("PT15M", "write it like 15m"),
        ("15m\n", "write it like 15m"),
        ("٣m", "write it like 15m"),
        ("9999999999y", "longer than a duration can be"),
        ("1" * 400 + "s", "write it like 15m"),
    ],
)
def test_a_slip_is_refused_with_what_to_write(text: str, says: str) -> None:
    with pytest.raises(DurationError, match=says):
        parse_duration(text)


@given(st.timedeltas(min_value=timedelta(0)))
def test_what_is_written_is_read_back(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


@given(st.text())
def test_any_text_is_a_duration_or_a_document_error(text: str) -> None:
    try:
        parse_duration(text)
    except BadDocument:
        return


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(minutes=15), "15m"),
        (timedelta(days=2), "2d"),
        (timedelta(minutes=90), "1h30m"),
        (timedelta(milliseconds=1500), "1s500ms"),
        (timedelta(0), "0s"),
        (timedelta(minutes=-5), "-5m"),
    ],
)
def test_a_duration_is_written_the_short_way(duration: timedelta, text: str) -> None:
    assert format_duration(duration) == text


def test_a_model_field_takes_text_and_gives_text_back() -> None:
    cooldown = Cooldown.model_validate({"lasts": "1h30m"})

    assert cooldown.lasts == timedelta(minutes=90)
    assert cooldown.model_dump(mode="json") == {"lasts": "1h30m"}
    assert Cooldown(lasts=timedelta(seconds=3)).lasts == timedelta(seconds=3)


@pytest.mark.parametrize("value", [15, 1.5, True, None, [], "soon"], ids=str)
def test_a_model_field_refuses_what_has_no_unit(value: object) -> None:
    with pytest.raises(ValidationError, match="is not a duration"):
        Cooldown.model_validate({"lasts": value})


def test_editors_get_a_pattern_for_it() -> None:
    schema = Cooldown.model_json_schema()["properties"]["lasts"]

    assert schema["type"] == "string"
    assert "15m" in schema["examples"]
