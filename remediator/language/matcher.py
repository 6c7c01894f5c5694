"""Alertmanager's matchers, to the letter of its UTF-8 parser: `{alertname="ServiceDown", env=~"prod|live"}`.

A missing label is an empty one, and a regular expression must match the whole value.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from remediator.domain.errors import BadDocument
from remediator.language.go_string import quote, unquote
from remediator.language.pattern import BadPattern, Pattern


class MatcherSyntaxError(BadDocument):
    """The text is not a matcher list; `column` counts from 1 inside it."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.column = column


class MatchOp(StrEnum):
    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"

    @property
    def is_negative(self) -> bool:
        return self in {MatchOp.NOT_EQUAL, MatchOp.NOT_REGEX}


@dataclass(frozen=True, slots=True)
class Matcher:
    name: str
    op: MatchOp
    value: str
    pattern: Pattern | None = field(init=False, repr=False, compare=False)
    """The compiled value of `=~` and `!~`."""
    is_negative: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        is_regex = self.op in {MatchOp.REGEX, MatchOp.NOT_REGEX}
        object.__setattr__(self, "pattern", Pattern(self.value) if is_regex else None)
        object.__setattr__(self, "is_negative", self.op.is_negative)

    def matches(self, value: str) -> bool:
        found = self.pattern.matches(value) if self.pattern else value == self.value
        return found is not self.is_negative

    def holds(self, labels: Mapping[str, str]) -> bool:
        return self.matches(labels.get(self.name, ""))

    def __str__(self) -> str:
        name = self.name if _BARE.fullmatch(self.name) else quote(self.name)
        return f"{name}{self.op}{quote(self.value)}"


def parse_matchers(text: str) -> tuple[Matcher, ...]:
    """Like Alertmanager, takes an empty list (``, `{}`) too; for a rule use `parse_selector`."""
    return _parse_usual(text) or _parse(text)


def _parse_usual(text: str) -> tuple[Matcher, ...] | None:
    """`{name="value", ...}`, as nearly every rule has it; the rest, and what is wrong, is for `_parse`."""
    inner = text[1:-1] if text.startswith("{") and text.endswith("}") else text
    matchers: list[Matcher] = []
    position = -1
    while position < len(inner):
        found = _USUAL.match(inner, position + 1)
        if found is None:
            return None
        try:
            matchers.append(Matcher(found[1], MatchOp(found[2]), found[3]))
        except BadPattern:
            return None
        position = found.end()
        if inner[position : position + 1] not in {",", ""}:
            return None
    return tuple(matchers)


def _parse(text: str) -> tuple[Matcher, ...]:
    tokens = _Tokens(text)
    has_brace = tokens.take_if(_Kind.OPEN)
    matchers: list[Matcher] = []
    while tokens.next.kind not in {_Kind.CLOSE, _Kind.END}:
        matchers.append(_parse_matcher(tokens))
        _parse_separator(tokens)
    if has_brace:
        tokens.take(_Kind.CLOSE, expected="a close brace")
    elif tokens.next.kind is _Kind.CLOSE:
        raise MatcherSyntaxError("unexpected }: there is no opening brace", tokens.next.column)
    tokens.take(_Kind.END, expected="the end of input")
    return tuple(matchers)


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """Matchers that narrow something down; those that would also match an alert without any label are refused."""
    matchers = parse_matchers(text)
    if is_unselective(matchers):
        raise MatcherSyntaxError("at least one matcher must not match the empty string", 1)
    return matchers


def is_unselective(matchers: tuple[Matcher, ...]) -> bool:
    return all(matcher.matches("") for matcher in matchers)


def _parse_matcher(tokens: "_Tokens") -> Matcher:
    name = tokens.take(_Kind.QUOTED, _Kind.BARE, expected="a label name").content()
    op = tokens.take(_Kind.OPERATOR, expected="an operator such as '=', '!=', '=~' or '!~'")
    value = tokens.take(_Kind.QUOTED, _Kind.BARE, expected="a label value")
    try:
        return Matcher(name, MatchOp(op.text), value.content())
    except BadPattern as error:
        raise MatcherSyntaxError(str(error), value.column) from error


def _parse_separator(tokens: "_Tokens") -> None:
    if tokens.next.kind in {_Kind.CLOSE, _Kind.END}:
        return
    tokens.take(_Kind.COMMA, expected="a comma or close brace")
    if tokens.next.kind not in {_Kind.CLOSE, _Kind.END, _Kind.QUOTED, _Kind.BARE}:
        raise tokens.next.unexpected("a matcher or close brace after the comma")


class _Kind(StrEnum):
    SPACE = "space"
    OPEN = "open"
    CLOSE = "close"
    COMMA = "comma"
    OPERATOR = "operator"
    QUOTED = "quoted"
    BARE = "bare"
    INVALID = "invalid"
    END = "end"


# What Go's unicode.IsSpace takes for a space; Python's \s has four more.
_SPACES: Final = "\t\n\v\f\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_RESERVED: Final = r"{}!=~,\\\"'`"
_BARE: Final = re.compile(rf"[^{_RESERVED}{_SPACES}]+")
_USUAL: Final = re.compile(r' *([a-zA-Z_][a-zA-Z0-9_]*) *(=~|!=|!~|=) *"([^"\\\n\ud800-\udfff]*)" *')
_TOKEN: Final = re.compile(
    rf"(?P<space>[{_SPACES}]+)|(?P<open>{{)|(?P<close>}})|(?P<comma>,)|(?P<operator>=~|!=|!~|=)"
    rf'|(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<bare>{_BARE.pattern})|(?P<invalid>.)',
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class _Token:
    kind: _Kind
    text: str
    column: int

    def content(self) -> str:
        if self.kind is not _Kind.QUOTED:
            return self.text
        try:
            return unquote(self.text)
        except ValueError as error:
            raise MatcherSyntaxError(f"{self.text} is not a valid quoted string", self.column) from error

    def unexpected(self, expected: str) -> MatcherSyntaxError:
        found = "end of input" if self.kind is _Kind.END else self.text
        return MatcherSyntaxError(f"unexpected {found}: expected {expected}", self.column)


class _Tokens:
    """Reads one token ahead, so that the first mistake in the text is the one reported."""

    def __init__(self, text: str) -> None:
        self._tokens = _scan(text)
        self.next = next(self._tokens)

    def take(self, *kinds: _Kind, expected: str) -> _Token:
        token = self.next
        if token.kind not in kinds:
            raise token.unexpected(expected)
        if token.kind is not _Kind.END:
            self.next = next(self._tokens)
        return token

    def take_if(self, kind: _Kind) -> bool:
        found = self.next.kind is kind
        if found:
            self.take(kind, expected=kind)
        return found


def _scan(text: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(text):
        kind, column = _Kind(str(found.lastgroup)), found.start() + 1
        if kind is _Kind.INVALID:
            raise MatcherSyntaxError(_complaint(text, found.start()), column)
        if kind is not _Kind.SPACE:
            yield _Token(kind, found[0], column)
    yield _Token(_Kind.END, "", len(text) + 1)


def _complaint(text: str, start: int) -> str:
    match text[start]:
        case '"':
            return f'{text[start:]}: missing end "'
        case "!":
            return "unexpected !: expected '!=' or '!~'"
        case other:
            return f"{other}: invalid input, put the value in double quotes"
