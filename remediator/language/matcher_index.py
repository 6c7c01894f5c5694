"""Which rules does this alert match? Thousands of rules in microseconds, with the answer of a plain loop.

A line of a rule is filed under the rarest thing it wants a label to be, to begin with or to match, and looked at only
where that is so: what an alert costs hangs on how many lines are about it, not on how many there are. Where many lines
share a place, they are filed again by what else they want.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

from remediator.domain.errors import BadDocument
from remediator.language.matcher import Matcher, MatchOp, is_unselective
from remediator.language.pattern import PatternSet

_FEW: Final = 4
"""So many lines are asked one by one; more of them are filed again."""


class UnselectiveLine(BadDocument):
    """At least one matcher of a line must not match the empty string; an empty selector is nothing, not everything."""


class MatcherIndex:
    """Built once a rule set; `rules` holds, for each rule, its lines, of which any may match."""

    __slots__ = ("_place",)

    def __init__(self, rules: Sequence[Sequence[tuple[Matcher, ...]]]) -> None:
        lines = [_line(position, matchers) for position, rule in enumerate(rules) for matchers in rule]
        self._place = _file(lines, by_prefix=True)

    def match(self, labels: Mapping[str, str]) -> list[int]:
        """Positions of the matching rules, in the order the rules came in."""
        return sorted({line.rule for line in self.candidates(labels) if line.holds(labels)})

    def candidates(self, labels: Mapping[str, str]) -> "list[Line]":
        """The lines that must be looked at; all others cannot match."""
        found: list[Line] = []
        self._place.collect(labels, found)
        return found


@dataclass(frozen=True, slots=True)
class Line:
    rule: int
    left: tuple[Matcher, ...]
    """What its place in the index does not say of it; what is cheap to ask comes first."""

    def holds(self, labels: Mapping[str, str]) -> bool:
        return all(matcher.holds(labels) for matcher in self.left)

    def without(self, matcher: Matcher) -> "Line":
        return Line(self.rule, tuple(each for each in self.left if each is not matcher))


class _Place(Protocol):
    def collect(self, labels: Mapping[str, str], found: list[Line]) -> None: ...


class _Few:
    """Lines that are asked one by one."""

    __slots__ = ("_lines",)

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = tuple(lines)

    def collect(self, labels: Mapping[str, str], found: list[Line]) -> None:
        found.extend(self._lines)


class _Many:
    """Lines filed by what they want of one label."""

    __slots__ = ("_apart", "_equal", "_matching", "_prefixed")

    def __init__(self, lines: Sequence[Line], *, by_prefix: bool) -> None:
        apart, filed = _sorted(lines, by_prefix=by_prefix)
        self._apart = tuple(apart)
        """They only say what a label is not, or that it may be missing."""
        self._equal = _filed_by_value(filed)
        self._prefixed = _filed_by_prefix(filed)
        self._matching = _filed_by_pattern(filed)

    def collect(self, labels: Mapping[str, str], found: list[Line]) -> None:
        found.extend(self._apart)
        for label, by_value in self._equal:
            place = by_value.get(labels.get(label, ""))
            if place is not None:
                place.collect(labels, found)
        for label, lengths, by_start in self._prefixed:
            value = labels.get(label, "")
            for length in lengths:
                place = by_start.get(value[:length])
                if place is not None:
                    place.collect(labels, found)
        for label, patterns, places in self._matching:
            if value := labels.get(label, ""):
                for position in patterns.matching(value):
                    places[position].collect(labels, found)


class _Kind(IntEnum):
    """Of a wish; the cheaper one to look up comes first."""

    EQUAL = 0
    PREFIX = 1
    PATTERN = 2


class _Wish(NamedTuple):
    """Something that a label must be, begin with or match for a line to hold."""

    kind: _Kind
    label: str
    text: str


_Filed = Mapping[_Wish, tuple[Matcher, _Place]]


def _line(rule: int, matchers: tuple[Matcher, ...]) -> Line:
    if is_unselective(matchers):
        text = ", ".join(map(str, matchers))
        raise UnselectiveLine(f"{{{text}}}: at least one matcher must not match the empty string")
    return Line(rule, tuple(sorted(matchers, key=lambda matcher: matcher.pattern is not None)))


def _file(lines: Sequence[Line], *, by_prefix: bool) -> _Place:
    return _Few(lines) if len(lines) <= _FEW else _Many(lines, by_prefix=by_prefix)


def _sorted(lines: Sequence[Line], *, by_prefix: bool) -> tuple[list[Line], _Filed]:
    """Those that wish for nothing, and the others by their rarest wish."""
    wishes = [[(_wish(matcher, by_prefix=by_prefix), matcher) for matcher in line.left] for line in lines]
    popularity = Counter(wish for each in wishes for wish, _ in each)
    apart: list[Line] = []
    filed: defaultdict[_Wish, list[Line]] = defaultdict(list)
    chosen: dict[_Wish, Matcher] = {}
    for line, each in zip(lines, wishes, strict=True):
        usable = [
            (wish.kind is _Kind.PATTERN, popularity[wish], wish, number)
            for number, (wish, _) in enumerate(each)
            if wish is not None
        ]
        if not usable:
            apart.append(line)
            continue
        *_, wish, number = min(usable)
        matcher = chosen[wish] = each[number][1]
        # A text that begins rightly may still not match: only the other wishes say all there is to say.
        filed[wish].append(line if wish.kind is _Kind.PREFIX else line.without(matcher))
    return apart, {
        wish: (chosen[wish], _file(some, by_prefix=wish.kind is not _Kind.PREFIX)) for wish, some in filed.items()
    }


def _wish(matcher: Matcher, *, by_prefix: bool) -> _Wish | None:
    """None where a label that is missing would do."""
    if matcher.op is MatchOp.EQUAL and matcher.value:
        return _Wish(_Kind.EQUAL, matcher.name, matcher.value)
    if matcher.op is not MatchOp.REGEX or matcher.pattern is None:
        return None
    if by_prefix and matcher.pattern.prefix:
        return _Wish(_Kind.PREFIX, matcher.name, matcher.pattern.prefix)
    return None if matcher.matches("") else _Wish(_Kind.PATTERN, matcher.name, matcher.value)


def _filed_by_value(filed: _Filed) -> tuple[tuple[str, Mapping[str, _Place]], ...]:
    found: defaultdict[str, dict[str, _Place]] = defaultdict(dict)
    for wish, (_, place) in filed.items():
        if wish.kind is _Kind.EQUAL:
            found[wish.label][wish.text] = place
    return tuple(found.items())


def _filed_by_prefix(filed: _Filed) -> tuple[tuple[str, tuple[int, ...], Mapping[str, _Place]], ...]:
    found: defaultdict[str, dict[str, _Place]] = defaultdict(dict)
    for wish, (_, place) in filed.items():
        if wish.kind is _Kind.PREFIX:
            found[wish.label][wish.text] = place
    return tuple((label, tuple(sorted({len(start) for start in places})), places) for label, places in found.items())


def _filed_by_pattern(filed: _Filed) -> tuple[tuple[str, PatternSet, tuple[_Place, ...]], ...]:
    found: defaultdict[str, list[tuple[Matcher, _Place]]] = defaultdict(list)
    for wish, (matcher, place) in filed.items():
        if wish.kind is _Kind.PATTERN:
            found[wish.label].append((matcher, place))
    return tuple(
        (
            label,
            PatternSet([matcher.pattern for matcher, _ in each if matcher.pattern is not None]),
            tuple(place for _, place in each),
        )
        for label, each in found.items()
    )
