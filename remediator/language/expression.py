"""CEL, behind one door: type-checked at load, bounded at run time, and never false in silence.

A `Scope` says which dotted names exist and what they are; an `Expression` compiled in it can be evaluated any number
of times, and is handed only the values that it looks at.
"""

import re
from collections.abc import Mapping
from functools import cache
from typing import Final
from weakref import WeakValueDictionary

from cel_expr_python import cel
from cel_expr_python.ext.ext_math import ExtMath
from cel_expr_python.ext.ext_optional import ExtOptional
from cel_expr_python.ext.ext_strings import ExtStrings

from remediator.domain.errors import BadDocument, RemediatorError
from remediator.language.cel_source import (
    KNOWN,
    ExpressionError,
    ask_about_values,
    explain_failure,
    explain_refusal,
    is_name,
    words,
)
from remediator.language.cel_type import CelKind, CelType, python_type_to_cel
from remediator.language.cel_value import clean_text, to_cel

__all__ = [
    "BadName",
    "CelType",
    "EvaluationError",
    "Expression",
    "ExpressionError",
    "Scope",
    "python_type_to_cel",
]

_LONGEST_SOURCE: Final = 4096
_NATIVE: Final = {
    CelKind.STRING: cel.Type.STRING,
    CelKind.INT: cel.Type.INT,
    CelKind.DOUBLE: cel.Type.DOUBLE,
    CelKind.BOOL: cel.Type.BOOL,
    CelKind.TIMESTAMP: cel.Type.TIMESTAMP,
    CelKind.DURATION: cel.Type.DURATION,
    CelKind.DYN: cel.Type.DYN,
}
_TEXTS: Final = CelType.map_of(CelType.STRING)
_KEY: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_UNUSABLE: Final = {"BYTES": "bytes", "TYPE": "a type", "optional_type": "an optional value, add .orValue(...)"}


class EvaluationError(RemediatorError):
    """The expression has no answer: a value is missing, a conversion failed, its budget ran out. That is not a no."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadName(BadDocument):
    """Part of a variable's name cannot be written in an expression."""


class Expression:
    __slots__ = ("__weakref__", "_entry", "_looks_at", "_program", "_scope", "result_type", "source")

    def __init__(self, source: str, program: cel.Expression, scope: "Scope") -> None:
        self.source = source
        self.result_type = _from_native(program.return_type().name())
        self._program = program
        self._scope = scope
        self._looks_at: frozenset[str] | None = None
        self._entry = scope.entry_of_text(source)

    def evaluate(self, values: Mapping[str, object]) -> object:
        """Raises `EvaluationError` wherever the answer is not a plain value of the declared type."""
        if self._entry is not None:
            known = _known_text(values, *self._entry)
            if known is not None:
                return known
        if self._looks_at is None:
            self._looks_at = self._scope.names_among(words(self.source))
        bound = self._scope.bound(values, only=self._looks_at)
        try:
            value = self._program.eval(bound)
            result = value.plain_value()
        except RuntimeError as error:
            raise EvaluationError(explain_failure(str(error))) from error
        except (SystemError, TypeError, ValueError, OverflowError) as error:
            # What the binding raises for a result that has no Python counterpart, such as an optional inside a list.
            raise EvaluationError("the result is not a plain value") from error
        if isinstance(result, bytes | bytearray):
            raise EvaluationError("the result is bytes")
        if isinstance(result, str) and value.type().name() == "ERROR":
            raise EvaluationError(explain_failure(result))
        if self.result_type.kind is CelKind.BOOL and not isinstance(result, bool):
            raise EvaluationError(f"expected true or false, got {result!r:.80}")
        return result


class Scope:
    """The names an expression may use. Immutable; `extend` gives a larger one.

    Rules repeat each other: a text that is still in use is not compiled again, nor a scope built again.
    """

    __slots__ = ("__weakref__", "_by_last_part", "_compiled", "_env", "_extensions", "variables")

    def __init__(self, variables: Mapping[str, CelType]) -> None:
        for name in variables:
            if not all(map(is_name, name.split("."))):
                raise BadName(f"{name!r} cannot be used in expressions: use letters, digits and _ in every part")
        self.variables = dict(variables)
        native = {name: _to_native(kind) for name, kind in variables.items()}
        known = {f"{KNOWN}{name}": cel.Type.BOOL for name in variables}
        self._env = cel.NewEnv(variables=native | known, extensions=_extensions())
        self._by_last_part: dict[str, list[tuple[str, frozenset[str]]]] = {}
        for name in variables:
            parts = name.split(".")
            self._by_last_part.setdefault(parts[-1], []).append((name, frozenset(parts)))
        self._compiled: WeakValueDictionary[str, Expression] = WeakValueDictionary()
        self._extensions: WeakValueDictionary[frozenset[tuple[str, CelType]], Scope] = WeakValueDictionary()

    def extend(self, variables: Mapping[str, CelType]) -> "Scope":
        key = frozenset(variables.items())
        scope = self._extensions.get(key)
        if scope is None:
            scope = self._extensions[key] = Scope(self.variables | dict(variables))
        return scope

    def names_among(self, found: frozenset[str]) -> frozenset[str]:
        """The variables that a text of these words may look at; a few too many where names share their parts."""
        return frozenset(name for word in found for name, parts in self._by_last_part.get(word, ()) if found >= parts)

    def entry_of_text(self, source: str) -> tuple[str, str] | None:
        """`alert.labels.pod` as (`alert.labels`, `pod`); None for whatever is not just an entry of such a map."""
        path = source.strip()
        name, _, key = path.rpartition(".")
        is_entry = self.variables.get(name) == _TEXTS and path not in self.variables and _KEY.fullmatch(key)
        return (name, key) if is_entry else None

    def compile(self, source: str) -> Expression:
        expression = self._compiled.get(source)
        if expression is None:
            expression = self._compiled[source] = self._compile(source)
        return expression

    def _compile(self, source: str) -> Expression:
        if len(source) > _LONGEST_SOURCE:
            raise ExpressionError(f"an expression may have {_LONGEST_SOURCE} characters", 1, _LONGEST_SOURCE)
        try:
            source.encode("utf-8")
            program = self._env.compile(ask_about_values(source, self.variables))
        except UnicodeEncodeError as error:
            raise ExpressionError("not a Unicode character", 1, error.start + 1) from error
        except RuntimeError as error:
            raise explain_refusal(str(error), source, self.variables) from error
        return Expression(source, program, self)

    def condition(self, source: str) -> Expression:
        """An expression that can only answer true or false."""
        expression = self.compile(source)
        if expression.result_type != CelType.BOOL:
            raise ExpressionError(f"a condition must be true or false, this is {expression.result_type}", 1, 1)
        return expression

    def bound(self, values: Mapping[str, object], *, only: frozenset[str]) -> cel.Activation:
        """Names without a value (absent, or None) are errors only to the expressions that need them."""
        data: dict[str, object] = {}
        for name in only:
            value, kind = values.get(name), self.variables[name]
            data[f"{KNOWN}{name}"] = value is not None
            if value is not None or (name in values and kind.kind is CelKind.DYN):
                data[name] = to_cel(value, kind)
        return self._env.Activation(data)


def _known_text(values: Mapping[str, object], name: str, key: str) -> str | None:
    """What CEL would answer, without handing it the whole map; None where it may have something to complain about."""
    entries = values.get(name)
    found = entries.get(key) if isinstance(entries, Mapping) else None
    return clean_text(found) if type(found) is str else None


@cache
def _extensions() -> tuple[cel.CelExtensionBase, ...]:
    return (ExtStrings(), ExtOptional(), ExtMath())


def _to_native(declared: CelType) -> cel.Type:
    match declared.kind:
        case CelKind.LIST:
            return cel.Type.List(_to_native(declared.item or CelType.DYN))
        case CelKind.MAP:
            return cel.Type.Map(cel.Type.STRING, _to_native(declared.item or CelType.DYN))
        case kind:
            return _NATIVE[kind]


@cache
def _from_native(name: str) -> CelType:
    """Reads `MAP<STRING, LIST<INT>>`; what an expression must not give back is refused."""
    head, _, inner = name.removesuffix(">").partition("<")
    if head in _UNUSABLE:
        raise ExpressionError(f"the result is {_UNUSABLE[head]}", 1, 1)
    if head == "LIST":
        return CelType.list_of(_from_native(inner))
    if head == "MAP":
        key, _, item = inner.partition(", ")
        found = _from_native(item)
        return CelType.map_of(found) if key == "STRING" else CelType.DYN
    if head == "UINT":
        return CelType.INT
    return next((CelType(kind) for kind in _NATIVE if kind == head.lower()), CelType.DYN)
