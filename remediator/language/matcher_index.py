"""Which rules does this alert match? Thousands of rules in microseconds, with the answer of a plain loop.

Equality is one dictionary look-up a label and all regular expressions of a label are one RE2 pass. A line of a rule is
looked at only where its rarest matcher holds.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from remediator.domain.errors import BadDocument
from remediator.language.matcher import Matcher, is_unselective
from remediator.language.pattern import Pattern, PatternSet


class UnselectiveLine(BadDocument):
    """At least one matcher of a line must not match the empty string; an empty selector is nothing, not everything."""


class MatcherIndex:
    """Built once a rule set; `rules` holds, for each rule, its lines, of which any may match."""

    __slots__ = ("_always", "_filed", "_labels")

    def __init__(self, rules: Sequence[Sequence[tuple[Matcher, ...]]]) -> None:
        tests = _Tests()
        lines = [_line(position, matchers, tests) for position, rule in enumerate(rules) for matchers in rule]
        popularity = Counter(test for line in lines for test in line.required)
        self._always: list[_Line] = []
        self._filed: dict[int, list[_Line]] = defaultdict(list)
        for line in lines:
            if line.required:
                self._filed[min(line.required, key=lambda test: (popularity[test], test))].append(line)
            else:
                self._always.append(line)
        self._labels = [(name, _LabelIndex(label)) for name, label in tests.by_label.items()]

    def match(self, labels: Mapping[str, str]) -> list[int]:
        """Positions of the matching rules, in the order the rules came in."""
        held: set[int] = set()
        for name, label in self._labels:
            value = labels.get(name, "")
            held.update(label.held_by(value) if value else label.held_by_nothing)
        candidates = list(self._always)
        for test in held:
            candidates.extend(self._filed.get(test, ()))
        return sorted({line.rule for line in candidates if line.required <= held and held.isdisjoint(line.forbidden)})


@dataclass(frozen=True, slots=True)
class _Line:
    rule: int
    required: frozenset[int]
    forbidden: frozenset[int]


@dataclass(slots=True)
class _LabelTests:
    equal: dict[str, int] = field(default_factory=dict)
    patterns: dict[str, tuple[int, Pattern]] = field(default_factory=dict)


class _LabelIndex:
    """The tests on one label name: which of them hold for a value."""

    __slots__ = ("_equal", "_pattern_tests", "_patterns", "held_by_nothing")

    def __init__(self, tests: _LabelTests) -> None:
        self._equal = tests.equal
        self._pattern_tests = [test for test, _ in tests.patterns.values()]
        self._patterns = PatternSet([pattern for _, pattern in tests.patterns.values()])
        self.held_by_nothing = frozenset(self.held_by(""))

    def held_by(self, value: str) -> list[int]:
        held = [self._pattern_tests[n] for n in self._patterns.matching(value)] if self._pattern_tests else []
        if value in self._equal:
            held.append(self._equal[value])
        return held


class _Tests:
    """Numbers each distinct test once; `!=` and `!~` share the number of `=` and `=~` and forbid it."""

    def __init__(self) -> None:
        self.by_label: dict[str, _LabelTests] = defaultdict(_LabelTests)
        self._count = 0

    def number(self, matcher: Matcher) -> int:
        tests = self.by_label[matcher.name]
        if matcher.pattern is None:
            number = tests.equal.setdefault(matcher.value, self._count)
        else:
            number = tests.patterns.setdefault(matcher.value, (self._count, matcher.pattern))[0]
        if number == self._count:
            self._count += 1
        return number


def _line(rule: int, matchers: tuple[Matcher, ...], tests: _Tests) -> _Line:
    if is_unselective(matchers):
        text = ", ".join(map(str, matchers))
        raise UnselectiveLine(f"{{{text}}}: at least one matcher must not match the empty string")
    return _Line(
        rule,
        required=frozenset(tests.number(matcher) for matcher in matchers if not matcher.op.is_negative),
        forbidden=frozenset(tests.number(matcher) for matcher in matchers if matcher.op.is_negative),
    )
