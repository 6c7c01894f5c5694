"""Rules that can never be the first to match, because another one always is before them."""

from collections.abc import Iterator, Sequence

from remediator.domain.ids import RuleName
from remediator.language.matcher import Matcher
from remediator.rules.rule import Rule


def shadowed(rules: Sequence[Rule]) -> Iterator[tuple[RuleName, RuleName]]:
    """(the rule never reached, the one before it). Certain, not complete: no regular expressions are compared."""
    earlier: list[tuple[frozenset[Matcher], RuleName]] = []
    for rule in sorted(rules, key=lambda each: -each.priority):
        lines = [frozenset(line) for line in rule.matchers]
        before = [_before(line, earlier) for line in lines]
        if lines and None not in before and before[0] is not None:
            yield rule.name, before[0]
        earlier += [(line, rule.name) for line in lines]


def _before(line: frozenset[Matcher], earlier: Sequence[tuple[frozenset[Matcher], RuleName]]) -> RuleName | None:
    """Whatever this line matches, an earlier line with no matcher more matches too."""
    return next((name for wider, name in earlier if wider <= line), None)
