"""The one door to RE2: anchored patterns, alone or thousands at a time, linear in the text whatever was written.

Labels are hostile input and Python's `re` can be made to spin for hours on thirty characters of it.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

import re2

from remediator.domain.errors import BadDocument

_LONGEST_PATTERN: Final = 4096
_PATTERNS_A_SET: Final = 500
_PATTERN_MEMORY: Final = 8 << 20
_SET_MEMORY: Final = 64 << 20
_ANYTHING: Final = r"\C*"
_LONGEST_PREFIX: Final = 32
_LITERALS: Final = re.compile("[-_/:@a-zA-Z0-9]+")
_HIDES_PARENTHESES: Final = re.compile(r"[\\\[]")


class BadPattern(BadDocument):
    """It is not a regular expression that RE2 accepts (no look-around, no back-references)."""


class Pattern:
    """One regular expression, matched against the whole text as `^(?:...)$`."""

    __slots__ = ("_compiled", "prefix", "text")

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST_PATTERN:
            raise BadPattern(f"a regular expression may have {_LONGEST_PATTERN} characters, this has {len(text)}")
        try:
            self._compiled = re2.compile(_encode(text), _options(_PATTERN_MEMORY))
        except re2.error as error:
            raise BadPattern(f"not a regular expression: {_reason(error)}") from error
        self.text = text
        self.prefix = _literal_start(text)
        """What every text that matches begins with, as far as that is plain to see."""

    def matches(self, text: str) -> bool:
        return self._compiled.fullmatch(_encode(text)) is not None


class PatternSet:
    """Asks many patterns about one text in one pass."""

    __slots__ = ("_chunks", "_patterns")

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self._patterns = tuple(patterns)
        self._chunks = [
            (start, end - start, compiled)
            for start, end, compiled in _compile_chunks(self._patterns, start=0, end=len(self._patterns))
        ]

    def matching(self, text: str) -> list[int]:
        """Positions, in no order, of the patterns that match the whole text."""
        encoded = _encode(text)
        found: list[int] = []
        for start, count, compiled in self._chunks:
            hits = compiled.Match(encoded) if compiled else None
            if hits:
                found.extend([start + hit for hit in hits if hit != count])
            else:
                # Every set also holds a pattern that matches anything: no hit at all means that RE2 ran out of its
                # memory budget, which it reports only by staying silent. Slow and right beats fast and deaf.
                found.extend(n for n in range(start, start + count) if self._patterns[n].matches(text))
        return found


def _literal_start(pattern: str) -> str:
    """Errs on the side of nothing: an alternative at the top level, or one that may be, has its own beginning."""
    start = _LITERALS.match(pattern)
    literal, rest = (start[0], pattern[start.end() :]) if start else ("", pattern)
    if "|" in rest and (_HIDES_PARENTHESES.search(rest) or _has_alternative(rest)):
        return ""
    if rest[:1] in {"*", "?", "{"}:
        literal = literal[:-1]
    return literal[:_LONGEST_PREFIX]


def _has_alternative(pattern: str) -> bool:
    """Outside all parentheses."""
    depth = 0
    for character in pattern:
        if character == "|" and depth == 0:
            return True
        depth += (character == "(") - (character == ")")
    return False


def _compile_chunks(patterns: Sequence[Pattern], *, start: int, end: int) -> Iterator[tuple[int, int, re2.Set | None]]:
    if start == end:
        return
    compiled = _compile_set(patterns[start:end]) if end - start <= _PATTERNS_A_SET else None
    if compiled or end - start == 1:
        yield start, end, compiled
        return
    middle = (start + end) // 2
    yield from _compile_chunks(patterns, start=start, end=middle)
    yield from _compile_chunks(patterns, start=middle, end=end)


def _compile_set(patterns: Sequence[Pattern]) -> re2.Set | None:
    """None where these patterns together do not fit RE2's memory budget."""
    compiled = re2.Set.FullMatchSet(_options(_SET_MEMORY))
    try:
        for pattern in patterns:
            compiled.Add(_encode(pattern.text))
        compiled.Add(_ANYTHING)
        compiled.Compile()
    except re2.error:
        return None
    return compiled


def _options(memory: int) -> re2.Options:
    options = re2.Options()
    options.log_errors = False  # RE2 would write each refused pattern to standard error
    options.max_mem = memory
    return options


def _encode(text: str) -> bytes:
    # A lone surrogate is not UTF-8; passed on as bytes it matches no character class instead of raising.
    return text.encode("utf-8", "surrogatepass")


def _reason(error: re2.error) -> str:
    reason = error.args[0] if error.args else ""
    return reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
