"""Domain objects as jsonb and back. Facts keep their types: a duration read back must still be a duration to CEL."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeVar

import msgspec

from remediator.domain.incident import Progress

T = TypeVar("T")

_MOMENT, _SPAN = "$moment", "$seconds"


def to_document(value: object) -> Any:
    """Plain JSON values only."""
    return msgspec.to_builtins(value)


def from_document(document: Any, kind: type[T]) -> T:
    return msgspec.convert(document, kind, strict=False)


def progress_document(progress: Progress) -> Any:
    findings = {
        name: replace(finding, facts=_tagged(msgspec.to_builtins(finding.facts, builtin_types=(datetime, timedelta))))
        for name, finding in progress.findings.items()
    }
    return msgspec.to_builtins(replace(progress, findings=findings))


def progress_from(document: Any) -> Progress:
    progress = msgspec.convert(document, Progress, strict=False)
    findings = {name: replace(f, facts=_untagged(dict(f.facts))) for name, f in progress.findings.items()}
    return replace(progress, findings=findings)


def _tagged(value: Any) -> Any:
    match value:
        case datetime():
            return {_MOMENT: value.isoformat()}
        case timedelta():
            return {_SPAN: value.total_seconds()}
        case Mapping():
            return {key: _tagged(item) for key, item in value.items()}
        case list() | tuple():
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
