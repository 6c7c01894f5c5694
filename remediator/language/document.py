"""A YAML document with the place of each of its parts, and the problems that point at them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from remediator.domain.errors import BadDocument

Path = tuple[str | int, ...]
"""From a document's root to a value: `("fix", 0, "when")`."""


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"
    """Said, and not complained of."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file; both count from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Something a person should change in a file."""

    path: str
    """Of the file."""
    line: int
    column: int
    message: str
    hint: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        told = f"{self.message}: {self.hint}" if self.hint else self.message
        return f"{self.path}:{self.line}:{self.column}: {self.severity}: {told}"

    def render(self, source: str) -> str:
        """With the line it is about, and a caret under the place."""
        lines = source.splitlines()
        if not 1 <= self.line <= len(lines):
            return str(self)
        line = "".join(c if c.isprintable() else " " for c in lines[self.line - 1])
        number = str(self.line)
        caret = " " * (min(self.column, len(line) + 1) - 1) + "^"
        return f"{self}\n  {number} | {line}\n  {' ' * len(number)} | {caret}"


class BadYaml(BadDocument):
    """The file cannot be read as YAML, or says what is not allowed in it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Places:
    """Where values begin, where their keys stand, and which of them are written as one plain or quoted line."""

    values: dict[Path, Mark] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)
    text_starts: dict[Path, Mark] = field(default_factory=dict)
    """Where the characters of a text begin, for texts in which a column counts on: after the quote, not in a block."""


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: a mapping, and where each part of it stands."""

    data: Mapping[str, object]
    file: str
    places: Callable[[], Places] = field(repr=False, compare=False)
    """Worked out when the first problem wants a place."""

    @classmethod
    def stored(cls, data: Mapping[str, object]) -> "Document":
        """One that was read earlier, and whose file is gone."""
        return cls(data, "stored", lambda: Places({(): Mark(1, 1)}))

    def locate(self, path: Sequence[str | int], *, key: bool = False) -> Mark:
        """Of the value (or its key) at `path`; where there is none, of what should hold it."""
        wanted, places = tuple(path), self.places()
        if key and wanted in places.keys:
            return places.keys[wanted]
        while wanted not in places.values:
            wanted = wanted[:-1]
        return places.values[wanted]

    def locate_within(self, path: Sequence[str | int], line: int, column: int) -> Mark:
        """Of a place inside the text at `path`, both counted from 1; its beginning where that cannot be told."""
        start = self.places().text_starts.get(tuple(path))
        if start is None or line > 1:
            return self.locate(path)
        return Mark(start.line, start.column + column - 1)

    def problem(
        self,
        path: Sequence[str | int],
        message: str,
        *,
        hint: str = "",
        key: bool = False,
        severity: Severity = Severity.ERROR,
    ) -> Problem:
        mark = self.locate(path, key=key)
        return Problem(self.file, mark.line, mark.column, message, hint, severity)
