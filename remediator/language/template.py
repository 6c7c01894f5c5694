"""`${{ expression }}` inside YAML values: one marker alone keeps its type, markers within text become text.

Nothing is ever rendered twice: what an expression gives back is data, whatever it looks like.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Final, Protocol

from remediator.language.cel_source import end_of_marker
from remediator.language.cel_type import CelType, python_type_to_cel
from remediator.language.expression import EvaluationError, Expression, ExpressionError, Scope
from remediator.language.text import to_text

_MARKER: Final = "${{"
_LONGEST_RESULT: Final = 64 * 1024
_DEEPEST_VALUE: Final = 32


class Value(Protocol):
    """Something written in YAML that is known, or can be worked out from values."""

    @property
    def is_constant(self) -> bool: ...

    @property
    def type(self) -> CelType: ...

    def render(self, values: Mapping[str, object]) -> object:
        """Raises `EvaluationError`."""


@dataclass(frozen=True, slots=True)
class Constant:
    content: object

    @property
    def is_constant(self) -> bool:
        return True

    @property
    def type(self) -> CelType:
        return python_type_to_cel(type(self.content))

    def render(self, values: Mapping[str, object]) -> object:
        return self.content


@dataclass(frozen=True, slots=True)
class Template:
    source: str
    parts: tuple[str | Expression, ...]
    escapes: tuple[Callable[[str], str], ...] = ()
    """One for each expression, where the text has a grammar (`text_kind`): then a lone marker is text too."""

    @property
    def is_constant(self) -> bool:
        return all(isinstance(part, str) for part in self.parts)

    @property
    def type(self) -> CelType:
        alone = self._alone()
        return alone.result_type if alone else CelType.STRING

    def render(self, values: Mapping[str, object]) -> object:
        if alone := self._alone():
            return alone.evaluate(values)
        escapes = iter(self.escapes or repeat(str))
        text = "".join(
            part if isinstance(part, str) else next(escapes)(_part_to_text(part, values)) for part in self.parts
        )
        if len(text) > _LONGEST_RESULT:
            raise EvaluationError(f"the text has {len(text)} characters, more than {_LONGEST_RESULT}")
        return text

    def places(self) -> Iterator[tuple[str | Expression, int]]:
        """Each part, and where in the source it begins, an expression with its marker."""
        position = 0
        for part in self.parts:
            if isinstance(part, str):
                yield part, position
                position += len(part)
            else:
                position = self.source.index(_MARKER, position)
                yield part, position
                position += len(_MARKER) + len(part.source) + len("}}")

    def _alone(self) -> Expression | None:
        is_alone = len(self.parts) == 1 and not self.escapes
        return self.parts[0] if is_alone and isinstance(self.parts[0], Expression) else None


@dataclass(frozen=True, slots=True)
class ListValue:
    items: tuple[Value, ...]

    @property
    def is_constant(self) -> bool:
        return all(item.is_constant for item in self.items)

    @property
    def type(self) -> CelType:
        return CelType.list_of(_common_type(self.items))

    def render(self, values: Mapping[str, object]) -> object:
        return [item.render(values) for item in self.items]


@dataclass(frozen=True, slots=True)
class MappingValue:
    entries: Mapping[str, Value]

    @property
    def is_constant(self) -> bool:
        return all(entry.is_constant for entry in self.entries.values())

    @property
    def type(self) -> CelType:
        return CelType.map_of(_common_type(tuple(self.entries.values())))

    def render(self, values: Mapping[str, object]) -> object:
        return {name: entry.render(values) for name, entry in self.entries.items()}


def has_marker(text: str) -> bool:
    return _MARKER in text


def parse_template(text: str, scope: Scope) -> Template:
    """Positions in its errors are relative to `text`. What is too long before any value is in it, no value can help."""
    parts = tuple(_parts(text, scope)) if has_marker(text) else (text,)
    written_out = sum(len(part) for part in parts if isinstance(part, str))
    if written_out > _LONGEST_RESULT:
        raise ExpressionError(f"the text has {written_out} characters, more than {_LONGEST_RESULT}", 1, 1)
    if len(parts) > 1:
        expressions = [part for part in parts if isinstance(part, Expression)]
        blank = all(not part.strip() for part in parts if isinstance(part, str))
        if len(expressions) == 1 and blank:
            return Template(text, tuple(expressions))
    return Template(text, parts)


def compile_value(value: object, scope: Scope) -> Value:
    """Compiles every text inside nested mappings and lists; an `ExpressionError` carries the `path` to its text."""
    return _compile(value, scope, path=())


def _compile(value: object, scope: Scope, *, path: tuple[str | int, ...]) -> Value:
    if len(path) > _DEEPEST_VALUE:
        raise ExpressionError(f"values nest deeper than {_DEEPEST_VALUE}", 1, 1, path=path)
    if isinstance(value, str):
        try:
            return parse_template(value, scope)
        except ExpressionError as error:
            raise ExpressionError(error.message, error.line, error.column, hint=error.hint, path=path) from error
    if isinstance(value, Mapping):
        return MappingValue({str(name): _compile(each, scope, path=(*path, str(name))) for name, each in value.items()})
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return ListValue(tuple(_compile(each, scope, path=(*path, n)) for n, each in enumerate(value)))
    return Constant(value)


def _parts(text: str, scope: Scope) -> Iterator[str | Expression]:
    position = 0
    while (marker := text.find(_MARKER, position)) >= 0:
        if marker > position:
            yield text[position:marker]
        start = marker + len(_MARKER)
        end = end_of_marker(text, start)
        if end is None:
            raise ExpressionError("this ${{ has no closing }}", *place_of(text, marker))
        yield _compile_at(text, start, end, scope=scope)
        position = end + len("}}")
    if position < len(text) or not text:
        yield text[position:]


def _compile_at(text: str, start: int, end: int, *, scope: Scope) -> Expression:
    try:
        return scope.compile(text[start:end])
    except ExpressionError as error:
        line, column = place_of(text, start)
        if error.line > 1:
            column = 1
        raise ExpressionError(
            error.message, line + error.line - 1, column + error.column - 1, hint=error.hint
        ) from error


def place_of(text: str, offset: int) -> tuple[int, int]:
    """Line and column, from 1."""
    before = text[:offset]
    return before.count("\n") + 1, offset - before.rfind("\n")


def _part_to_text(expression: Expression, values: Mapping[str, object]) -> str:
    value = expression.evaluate(values)
    if value is None:
        raise EvaluationError(f"{expression.source.strip()} is null")
    return to_text(value)


def _common_type(values: Sequence[Value]) -> CelType:
    types = {value.type for value in values}
    return types.pop() if len(types) == 1 else CelType.DYN
