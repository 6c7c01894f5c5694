"""Gathers what is wrong with one document, so that a person sees all of it at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import BaseModel, ValidationError

from remediator.language.cel_source import ExpressionError
from remediator.language.document import Document, Path, Problem, Severity
from remediator.language.validation import explain_validation_error


@dataclass(frozen=True, slots=True)
class Complaints:
    document: Document
    problems: list[Problem] = field(default_factory=list)

    def about(self, path: Sequence[str | int], message: str, *, hint: str = "", key: bool = False) -> None:
        self.problems.append(self.document.problem(path, message, hint=hint, key=key))

    def warn(self, path: Sequence[str | int], message: str, *, hint: str = "") -> None:
        self.problems.append(self.document.problem(path, message, hint=hint, key=True, severity=Severity.WARNING))

    def about_text(self, path: Path, message: str, *, line: int = 1, column: int = 1, hint: str = "") -> None:
        """`line` and `column` count within the text at `path`."""
        mark = self.document.locate_within(path, line, column)
        self.problems.append(Problem(self.document.file, mark.line, mark.column, message, hint))

    def about_expression(self, path: Path, error: ExpressionError) -> None:
        self.about_text((*path, *error.path), error.message, line=error.line, column=error.column, hint=error.hint)

    def about_shape(self, error: ValidationError, model: type[BaseModel], *, at: Path = ()) -> None:
        self.problems.extend(explain_validation_error(error, self.document, at=at, model=model))
