"""Rules that can never be the first to match, because another one always is before them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from remediator.domain.ids import RuleName
from remediator.language.matcher import Matcher
from remediator.rules.rule import Rule

Line = frozenset[Matcher]


def shadowed(rules: Sequence[Rule]) -> Iterator[tuple[RuleName, RuleName]]:
    """(the rule never reached, the one before it). Certain, not complete: no regular expressions are compared."""
    earlier = Earlier()
    for rule in sorted(rules, key=lambda each: -each.priority):
        lines = [frozenset(line) for line in rule.matchers]
        before = [earlier.wider_than(line) for line in lines]
        if lines and None not in before and before[0] is not None:
            yield rule.name, before[0]
        for line in lines:
            earlier.add(line, rule.name)


class Earlier:
    """The lines that come first, each filed under one of its matchers: a line it is wider than must have that one."""

    def __init__(self) -> None:
        self._filed: defaultdict[Matcher, list[tuple[int, Line, RuleName]]] = defaultdict(list)
        self._count = 0
        self.compared = 0
        """How many pairs of lines were held against each other."""

    def add(self, line: Line, name: RuleName) -> None:
        rarest = min(line, key=lambda matcher: (len(self._filed.get(matcher, ())), matcher.name, matcher.value))
        self._filed[rarest].append((self._count, line, name))
        self._count += 1

    def wider_than(self, line: Line) -> RuleName | None:
        """The first that matches whatever this line matches, because it has no matcher more."""
        candidates = [each for matcher in line for each in self._filed.get(matcher, ())]
        self.compared += len(candidates)
        return min(((number, name) for number, wider, name in candidates if wider <= line), default=(0, None))[1]
