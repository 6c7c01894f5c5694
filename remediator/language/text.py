"""How a value reads inside text: the same in a template, a message and a post-mortem."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from remediator.language.duration import format_duration


def to_text(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    if isinstance(value, timedelta):
        return format_duration(value)
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=_in_json)
    return _moment(value) if isinstance(value, datetime) else str(value)


def _moment(moment: datetime) -> str:
    if moment.tzinfo is None:
        return moment.isoformat(timespec="seconds")
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _in_json(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else to_text(value)
