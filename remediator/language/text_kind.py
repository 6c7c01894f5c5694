"""Texts that another system reads by a grammar of its own, and how a value gets into one without changing what it says.

A parameter declares its kind in its annotation, `query: Annotated[str, PromqlText()]`. Labels are hostile: where the
grammar has a place for a value, it is escaped for that place; anywhere else `${{ }}` is refused when rules are read.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Final
from urllib.parse import quote

from remediator.language.cel_source import ExpressionError
from remediator.language.expression import EvaluationError
from remediator.language.template import Template, place_of

Escape = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Misplaced:
    """No value can stand here."""

    why: str
    instead: str
    """What to do, as the hint says it."""


class TextKind(ABC):
    """To add one: a subclass, and a property test that no value changes the structure of such a text."""

    @abstractmethod
    def escape_after(self, before: str) -> Escape | Misplaced:
        """How a value is written that stands after `before`: what people wrote, without the values in it."""


def with_values_kept_apart(template: Template, kind: TextKind) -> Template:
    """Raises `ExpressionError` at a `${{` that has no place in such a text."""
    escapes: list[Escape] = []
    before = ""
    for part, start in template.places():
        if isinstance(part, str):
            before += part
            continue
        escape = kind.escape_after(before)
        if isinstance(escape, Misplaced):
            raise ExpressionError(escape.why, *place_of(template.source, start), hint=escape.instead)
        escapes.append(_of_something(escape))
    return replace(template, escapes=tuple(escapes))


def _of_something(escape: Escape) -> Escape:
    """Nothing, between two parts that are there, is another text: a wider pattern, another path, every series."""

    def escaped(value: str) -> str:
        if not value:
            raise EvaluationError("a value that this text needs is empty")
        return escape(value)

    return escaped


class PlainText(TextKind):
    """Compared or shown, never interpreted."""

    def escape_after(self, before: str) -> Escape | Misplaced:
        return str


@dataclass(frozen=True, slots=True)
class LiteralText(TextKind):
    """Takes no values: there is a better place for them."""

    instead: str
    """What to do, as the hint says it."""

    def escape_after(self, before: str) -> Misplaced:
        return Misplaced("no value can stand in this text", self.instead)


_AFTER_BACKSLASH: Final = Misplaced("a value cannot stand after \\", "write the \\ twice, or leave it out")
SQL: Final = LiteralText("write $1 in its place, and the value under `parameters`")


class RedisPattern(TextKind):
    """`cache:${{ alert.labels.tenant }}:*`: what a value holds is literal, `*` too. Keys begin as the rule says."""

    def escape_after(self, before: str) -> Escape | Misplaced:
        if not _FIXED_BEGINNING.match(before):
            instead = "write out how they begin, as in cache:${{ alert.labels.tenant }}:*"
            return Misplaced("whoever sends an alert must not choose whose keys are meant", instead)
        bare = re.sub(r"\\.", "", before, flags=re.DOTALL)
        if bare.endswith("\\"):
            return _AFTER_BACKSLASH
        if bare.rfind("[") > bare.rfind("]"):
            return Misplaced("a value cannot stand between [ and ]", "write the characters out")
        return partial(re.sub, r"([\\*?\[\]])", r"\\\1")


_FIXED_BEGINNING: Final = re.compile(r"[^*?\[\\]")
"""As `flush_cache` wants it of a pattern without values."""


class UrlText(TextKind):
    """`https://api.example/orders/${{ alert.labels.order }}?of=${{ alert.labels.shop }}`: one segment, one value."""

    def escape_after(self, before: str) -> Escape | Misplaced:
        if not _TO_THE_HOST.match(before):
            instead = "write scheme and host out; values may follow in the path and the query"
            return Misplaced("whoever sends an alert must not choose whom we call", instead)
        if _IN_AN_ESCAPE.search(before):
            return Misplaced("a value cannot stand inside a % escape", "leave the % out: values are escaped")
        return partial(quote, safe="") if "?" in before else _one_segment


_TO_THE_HOST: Final = re.compile(r"https?://[^/?#\\\s]+[/?#]", re.IGNORECASE)
_IN_AN_ESCAPE: Final = re.compile(r"%[0-9a-f]?\Z", re.IGNORECASE)


def _one_segment(value: str) -> str:
    """Dots alone lead elsewhere in a path, escaped or not."""
    if not value.strip("."):
        raise EvaluationError(f"{value!r} is no part of a path")
    return quote(value, safe="")


class PromqlText(TextKind):
    """`up{pod="${{ alert.labels.pod }}"}`: between the quotes of a label's value, and nowhere else.

    After `=~` and `!~` what a value holds is matched literally.
    """

    def escape_after(self, before: str) -> Escape | Misplaced:
        start = _open_quote(before)
        operator = _MATCHES.search(before[:start]) if start is not None else None
        if start is None or operator is None:
            instead = 'write it like up{pod="${{ alert.labels.pod }}"}'
            return Misplaced("a value can stand only between the quotes of a label's value", instead)
        if before[start] == "`":
            return Misplaced("a value cannot stand between backticks, which have no escape", 'use " instead')
        if (len(before) - len(before.rstrip("\\"))) % 2:
            return _AFTER_BACKSLASH
        return partial(_quoted, mark=before[start], is_pattern=operator[1] in {"=~", "!~"})


_MATCHES: Final = re.compile(r"(?<![=!<>])(=~|!~|!=|=)\s*\Z")
_SPECIAL_IN_PATTERN: Final = re.compile(r"([\\.+*?()|\[\]{}^$])")


def _quoted(value: str, *, mark: str, is_pattern: bool) -> str:
    literal = _SPECIAL_IN_PATTERN.sub(r"\\\1", value) if is_pattern else value
    return literal.replace("\\", "\\\\").replace(mark, f"\\{mark}").replace("\n", "\\n").replace("\r", "\\r")


def _open_quote(before: str) -> int | None:
    """Where the text begins that is still open at the end; None outside of texts, and in comments."""
    opened: int | None = None
    position = 0
    while position < len(before):
        character = before[position]
        if opened is None:
            if character == "#":
                end = before.find("\n", position)
                position = end if end >= 0 else len(before)
            elif character in "\"'`":
                opened = position
        elif character == "\\" and before[opened] != "`":
            position += 1
        elif character == before[opened]:
            opened = None
        position += 1
    return opened
