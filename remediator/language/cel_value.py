"""Python values on their way into an expression, made into what CEL can hold.

Facts come from other systems and alerts from strangers: the binding refuses tuples and moments inside untyped values,
and cuts text at a NUL character, which would make "prod\\0-test" equal to "prod".
"""

from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum
from uuid import UUID

from remediator.language.cel_type import CelKind, CelType

_DEEPEST = 32


class NaiveDatetime:
    """Stands for a moment without a time zone; to read it is an error that names this class."""


class TooDeep:
    """Stands for what lies too deep inside a value; to read it is an error that names this class."""


def to_cel(value: object, declared: CelType, *, depth: int = 0) -> object:
    """Never raises: what CEL cannot hold is passed on, and is an error to the expression that reads it."""
    if isinstance(value, str):
        return clean_text(value.value if isinstance(value, Enum) else value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _DEEPEST:
        return TooDeep()
    if isinstance(value, Mapping):
        item = declared.item or CelType.DYN
        return {
            clean_text(key) if isinstance(key, str) else key: to_cel(each, item, depth=depth + 1)
            for key, each in value.items()
        }
    if isinstance(value, list | tuple | Set):
        item = declared.item or CelType.DYN
        return [to_cel(each, item, depth=depth + 1) for each in value]
    return _scalar_to_cel(value, declared, depth=depth)


def clean_text(text: str) -> str:
    """NUL characters and lone surrogates become U+FFFD: visible, and equal to nothing anybody writes."""
    if "\x00" in text:
        text = text.replace("\x00", "\ufffd")
    if text.isascii():
        return text
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _scalar_to_cel(value: object, declared: CelType, *, depth: int) -> object:
    if isinstance(value, datetime):
        return _moment_to_cel(value, declared)
    if isinstance(value, timedelta):
        return value if declared.kind is CelKind.DURATION else f"{value.total_seconds():.6f}s"
    if isinstance(value, Enum):
        return to_cel(value.value, declared, depth=depth + 1)
    if is_dataclass(value) and not isinstance(value, type):
        return to_cel({each.name: getattr(value, each.name) for each in fields(value)}, declared, depth=depth)
    return float(value) if isinstance(value, Decimal) else str(value) if isinstance(value, UUID) else value


def _moment_to_cel(moment: datetime, declared: CelType) -> object:
    if moment.tzinfo is None:
        return NaiveDatetime()
    return moment if declared.kind is CelKind.TIMESTAMP else moment.isoformat()
