"""The types an expression can speak of, and how the fields of our dataclasses become them."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal, NewType, Union, get_args, get_origin


class CelKind(StrEnum):
    STRING = "string"
    INT = "int"
    DOUBLE = "double"
    BOOL = "bool"
    TIMESTAMP = "timestamp"
    DURATION = "duration"
    LIST = "list"
    MAP = "map"
    DYN = "dyn"


@dataclass(frozen=True, slots=True)
class CelType:
    kind: CelKind
    item: CelType | None = None
    """What a list or a map holds; the keys of a map are strings."""

    STRING: ClassVar[CelType]
    INT: ClassVar[CelType]
    DOUBLE: ClassVar[CelType]
    BOOL: ClassVar[CelType]
    TIMESTAMP: ClassVar[CelType]
    DURATION: ClassVar[CelType]
    DYN: ClassVar[CelType]

    @staticmethod
    def list_of(item: CelType) -> CelType:
        return CelType(CelKind.LIST, item)

    @staticmethod
    def map_of(item: CelType) -> CelType:
        return CelType(CelKind.MAP, item)

    def __str__(self) -> str:
        match self.kind:
            case CelKind.LIST:
                return f"list({self.item})"
            case CelKind.MAP:
                return f"map(string, {self.item})"
            case kind:
                return kind.value


CelType.STRING = CelType(CelKind.STRING)
CelType.INT = CelType(CelKind.INT)
CelType.DOUBLE = CelType(CelKind.DOUBLE)
CelType.BOOL = CelType(CelKind.BOOL)
CelType.TIMESTAMP = CelType(CelKind.TIMESTAMP)
CelType.DURATION = CelType(CelKind.DURATION)
CelType.DYN = CelType(CelKind.DYN)

_PLAIN: Final[Sequence[tuple[type, CelType]]] = (
    (bool, CelType.BOOL),
    (int, CelType.INT),
    (float, CelType.DOUBLE),
    (str, CelType.STRING),
    (datetime, CelType.TIMESTAMP),
    (timedelta, CelType.DURATION),
)


def python_type_to_cel(annotation: object) -> CelType:
    """The type of a dataclass field in expressions; whatever has no better answer is DYN, checked when it is used.

    `None` in a union is dropped: a field without a value is an error to read and can be asked about with `has()`.
    """
    annotation = _unwrap(annotation)
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return next((cel for plain, cel in _PLAIN if issubclass(annotation, plain)), CelType.DYN)
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {Union, types.UnionType}:
        return _only(arguments)
    if origin is Literal:
        return _only([type(value) for value in arguments])
    if isinstance(origin, type):
        return _collection(origin, arguments)
    return CelType.DYN


def _unwrap(annotation: object) -> object:
    if isinstance(annotation, NewType):
        return _unwrap(annotation.__supertype__)
    return _unwrap(get_args(annotation)[0]) if get_origin(annotation) is Annotated else annotation


def _only(alternatives: Sequence[object]) -> CelType:
    found = {python_type_to_cel(alternative) for alternative in alternatives if alternative is not types.NoneType}
    return found.pop() if len(found) == 1 else CelType.DYN


def _collection(origin: type, arguments: Sequence[typing.Any]) -> CelType:
    if issubclass(origin, Mapping) and arguments and python_type_to_cel(arguments[0]) == CelType.STRING:
        return CelType.map_of(python_type_to_cel(arguments[1]))
    if issubclass(origin, tuple):
        return CelType.list_of(_only([each for each in arguments if each is not Ellipsis]))
    if issubclass(origin, Sequence | Set) and arguments:
        return CelType.list_of(python_type_to_cel(arguments[0]))
    return CelType.DYN
