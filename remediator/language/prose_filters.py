"""The filters and tests prose may use: Jinja's own where they cannot grow their input, ours where they could."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from jinja2 import filters, tests

from remediator.language.text import to_text

LONGEST_TEXT: Final = 64 * 1024


class ProseLimit(Exception):
    """The text or the work to make it grew beyond what a message may cost."""


def _bounded(length: int) -> None:
    if length > LONGEST_TEXT:
        raise ProseLimit(f"the text is longer than {LONGEST_TEXT} characters")


def _join(values: Iterable[object], separator: str = "") -> str:
    parts: list[str] = []
    length = 0
    for value in values:
        parts.append(to_text(value))
        length += len(parts[-1]) + len(separator)
        _bounded(length)
    return separator.join(parts)


def _replace(text: str, old: str, new: str) -> str:
    if not old:
        return text
    _bounded(len(text) + text.count(old) * (len(new) - len(old)))
    return text.replace(old, new)


def _round(number: float, digits: int = 0) -> float:
    return round(number, max(-9, min(digits, 9)))


def _ceil(number: float) -> int:
    return math.ceil(number)


def _percent(ratio: float, digits: int = 0) -> str:
    return f"{ratio * 100:.{max(0, min(digits, 9))}f} %"


_JINJA_FILTERS: Final = [
    "abs", "capitalize", "count", "d", "default", "dictsort", "first", "float", "int", "items", "last", "length",
    "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse", "select", "selectattr", "sort", "sum",
    "title", "trim", "truncate", "unique", "upper", "urlencode", "wordcount",
]  # fmt: skip
_JINJA_TESTS: Final = [
    "!=", "<", "<=", "==", ">", ">=", "boolean", "defined", "eq", "equalto", "even", "false", "float", "ge", "gt",
    "greaterthan", "in", "integer", "iterable", "le", "lessthan", "lower", "lt", "mapping", "ne", "none", "number",
    "odd", "sequence", "string", "true", "undefined", "upper",
]  # fmt: skip

_ALL_FILTERS: Final[Mapping[str, Any]] = filters.FILTERS
_ALL_TESTS: Final[Mapping[str, Any]] = tests.TESTS

FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    **{name: _ALL_FILTERS[name] for name in _JINJA_FILTERS},
    "ceil": _ceil,
    "join": _join,
    "percent": _percent,
    "replace": _replace,
    "round": _round,
    "string": to_text,
    "tojson": to_text,
}
TESTS: Final[Mapping[str, Callable[..., Any]]] = {name: _ALL_TESTS[name] for name in _JINJA_TESTS}
