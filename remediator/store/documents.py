"""Domain objects as JSON text and back. Facts keep their types: a duration read back is still a duration to CEL."""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeVar

import msgspec
import structlog
from msgspec.structs import replace

from remediator.domain.incident import Progress
from remediator.store.database import to_json

T = TypeVar("T")

log = structlog.get_logger()

_MOMENT, _SPAN = "$moment", "$seconds"
_MARKS = '"$'
"""No text without it has either of them in it."""


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, strict=False)


def from_json(text: str, kind: type[T]) -> T:
    """From a jsonb column read as text: one pass, no plain values in between."""
    wanted: Any = kind
    decoded: T = _decoder(wanted).decode(text)
    return decoded


def each_once(texts: Iterable[str], kind: type[T]) -> dict[str, T]:
    """By its text: thousands of rows share a handful of policies, and reading each anew would be felt."""
    return {text: from_json(text, kind) for text in set(texts)}


def readable(rows: Iterable[Any], read: Callable[[Any], T]) -> list[T]:
    """Without those that cannot be read: one that another release wrote, or a hand, must not keep the others back. It
    is told of again whenever somebody comes by."""
    found: list[T] = []
    for row in rows:
        try:
            found.append(read(row))
        except Exception as error:  # whatever is wrong with it
            log.exception("a stored row cannot be read, it is passed over", row=row[0], error=str(error))
    return found


def progress_json(progress: Progress) -> str:
    document = msgspec.to_builtins(progress, builtin_types=(datetime, timedelta))
    for finding in document["findings"].values():
        finding["facts"] = _tagged(finding["facts"])
    return to_json(document)


def progress_from(text: str) -> Progress:
    progress = from_json(text, Progress)
    if _MARKS not in text:
        return progress
    findings = {name: replace(f, facts=_untagged(dict(f.facts))) for name, f in progress.findings.items()}
    return replace(progress, findings=findings)


def _tagged(value: Any) -> Any:
    match value:
        case datetime():
            return {_MOMENT: value.isoformat()}
        case timedelta():
            return {_SPAN: value.total_seconds()}
        case dict():
            return {key: _tagged(item) for key, item in value.items()}
        case list():
            return [_tagged(item) for item in value]
        case _:
            return value


def _untagged(value: Any) -> Any:
    match value:
        case {"$moment": str(moment)}:
            return datetime.fromisoformat(moment)
        case {"$seconds": seconds}:
            return timedelta(seconds=seconds)
        case dict():
            return {key: _untagged(item) for key, item in value.items()}
        case list():
            return [_untagged(item) for item in value]
        case _:
            return value
