"""What a route asks of an alert, and what follows from it: that it takes all of them, none, or those another one does.

Certain, not complete: where a regular expression would have to be understood, nothing is concluded.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from remediator.domain.errors import BadDocument
from remediator.language.matcher import Matcher, MatchOp, parse_matchers
from remediator.language.pattern import BadPattern

_LITERALS = re.compile(r"[-_/:@ \w]*(?:\|[-_/:@ \w]*)*")
_ALL, _ALL_THAT_HAVE_IT = frozenset({".*"}), frozenset({".*", ".+"})
_ALWAYS_THERE = "alertname"
OF_THE_ROUTE = ("match", "match_re", "matchers", "object_matchers")


@dataclass(frozen=True, slots=True)
class Unread:
    """A matcher that we cannot read, and that the sender may."""

    text: str

    def __str__(self) -> str:
        return self.text if self.text.isprintable() else repr(self.text)


Asked = tuple[Matcher | Unread, ...]
"""All of it must hold."""


def asked_by(node: Mapping[str, object]) -> Asked:
    """In any of the ways in which Alertmanager and Grafana let a route say it."""
    return (
        *_pairs(node.get("match"), MatchOp.EQUAL),
        *_pairs(node.get("match_re"), MatchOp.REGEX),
        *_texts(node.get("matchers")),
        *_triples(node.get("object_matchers")),
    )


def takes_all(asked: Asked) -> bool:
    return all(map(_is_always_so, asked))


def follows(asked: Asked, known: Asked) -> bool:
    """Does every alert of which `known` is so hold what is asked?"""
    return all(each in known or _is_always_so(each) or _is_so_by(each, known) for each in asked)


def is_impossible(asked: Asked) -> bool:
    """Is there no alert that it holds for?"""
    return any(
        _values(name, asked) == frozenset() for name in {each.name for each in asked if isinstance(each, Matcher)}
    )


def spelled(asked: Asked) -> str:
    return "{" + ", ".join(dict.fromkeys(str(each) for each in asked if not _is_always_so(each))) + "}"


def _pairs(written: object, op: MatchOp) -> Iterator[Matcher | Unread]:
    for name, value in (written if isinstance(written, Mapping) else {}).items():
        yield _matcher(str(name), op, str(value))


def _texts(written: object) -> Iterator[Matcher | Unread]:
    """A list of texts; one text alone is what the operator's resources and some tools make of it."""
    for text in written if isinstance(written, list) else [written] if written else []:
        try:
            yield from parse_matchers(str(text))
        except BadDocument:
            yield Unread(str(text))


def _triples(written: object) -> Iterator[Matcher | Unread]:
    for each in written if isinstance(written, list) else []:
        match each:
            case [name, op, value] if str(op) in {*MatchOp}:
                yield _matcher(str(name), MatchOp(str(op)), str(value))
            case _:
                yield Unread(str(each))


def _matcher(name: str, op: MatchOp, value: str) -> Matcher | Unread:
    try:
        return Matcher(name, op, value)
    except BadPattern:
        return Unread(f"{name}{op}{value}")


def _is_always_so(asked: Matcher | Unread) -> bool:
    if isinstance(asked, Unread):
        return False
    is_there = asked.name == _ALWAYS_THERE
    match asked.op:
        case MatchOp.REGEX:
            return not _branches(asked.value).isdisjoint(_ALL_THAT_HAVE_IT if is_there else _ALL)
        case MatchOp.NOT_EQUAL | MatchOp.NOT_REGEX:
            return is_there and _bare(asked.value) == ""
        case MatchOp.EQUAL:
            return False


def _branches(pattern: str) -> frozenset[str]:
    """Of `(a|.*)`, `a` and `.*`. What has more parentheses than those around it is one branch."""
    bare = _bare(pattern)
    return frozenset([bare] if "(" in bare or "[" in bare or "\\" in bare else map(_bare, bare.split("|")))


def _bare(pattern: str) -> str:
    """Without the anchors and the parentheses around it: it must match the whole value anyway."""
    while True:
        inner = pattern.removeprefix("^").removesuffix("$")
        if inner.startswith("(") and inner.endswith(")") and not re.search(r"[()\\\[]", inner[1:-1]):
            inner = re.sub(r"^\((?:\?s?:)?", "", inner)[:-1]
        if inner == pattern:
            return pattern
        pattern = inner


def _is_so_by(asked: Matcher | Unread, known: Asked) -> bool:
    if isinstance(asked, Unread):
        return False
    values = _values(asked.name, known)
    return values is not None and all(map(asked.matches, values))


def _values(name: str, asked: Asked) -> frozenset[str] | None:
    """That a label may have where it is plain which they are."""
    matchers = [each for each in asked if isinstance(each, Matcher) and each.name == name]
    named = next((values for values in map(_named, matchers) if values is not None), None)
    if named is None:
        return None
    return frozenset(value for value in named if all(matcher.matches(value) for matcher in matchers))


def _named(matcher: Matcher) -> frozenset[str] | None:
    """The values that it lists."""
    match matcher.op:
        case MatchOp.EQUAL:
            return frozenset({matcher.value})
        case MatchOp.REGEX if _LITERALS.fullmatch(_bare(matcher.value)):
            return frozenset(_bare(matcher.value).split("|"))
        case _:
            return None
