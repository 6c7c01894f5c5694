"""The index answers what a plain loop over all rules would answer, only sooner."""

import time
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.language.matcher import Matcher, MatchOp, is_unselective, parse_matchers
from remediator.language.matcher_index import MatcherIndex, UnselectiveLine
from remediator.language.pattern import Pattern, PatternSet

Lines = Sequence[tuple[Matcher, ...]]

names = st.sampled_from(["a", "b", "c"])
values = st.sampled_from(["", "x", "y", "xy", "é"])
patterns = st.sampled_from(["", ".*", ".+", "x|y", "x.*", "(?i)X", "é?", "[^x]+"])
equalities = st.builds(Matcher, names, st.sampled_from([MatchOp.EQUAL, MatchOp.NOT_EQUAL]), values)
regexes = st.builds(Matcher, names, st.sampled_from([MatchOp.REGEX, MatchOp.NOT_REGEX]), patterns)
selectors = (
    st.lists(equalities | regexes, min_size=1, max_size=4).map(tuple).filter(lambda found: not is_unselective(found))
)
rule_sets = st.lists(st.lists(selectors, max_size=3), max_size=8)
label_sets = st.dictionaries(names | st.just("other"), values, max_size=4)


def loop(rules: Sequence[Lines], labels: Mapping[str, str]) -> list[int]:
    return [
        position
        for position, lines in enumerate(rules)
        if any(all(matcher.holds(labels) for matcher in line) for line in lines)
    ]


@given(rule_sets, label_sets)
def test_the_index_agrees_with_a_plain_loop(rules: list[Lines], labels: dict[str, str]) -> None:
    assert MatcherIndex(rules).match(labels) == loop(rules, labels)


def test_any_line_of_a_rule_is_enough_and_order_is_file_order() -> None:
    rules = [
        [parse_matchers("alertname=B"), parse_matchers("alertname=A, env=prod")],
        [parse_matchers("alertname=~A|C")],
        [parse_matchers('env!=""')],
    ]

    index = MatcherIndex(rules)

    assert index.match({"alertname": "A", "env": "prod"}) == [0, 1, 2]
    assert index.match({"alertname": "A"}) == [1]
    assert index.match({"alertname": "B", "env": "dev"}) == [0, 2]
    assert index.match({}) == []


@pytest.mark.parametrize("line", ["", "a!=b", "a=~.*"])
def test_a_line_that_would_match_anything_is_refused(line: str) -> None:
    with pytest.raises(UnselectiveLine, match="must not match the empty string"):
        MatcherIndex([[parse_matchers(line)]])


def test_no_rules_match_nothing() -> None:
    assert MatcherIndex([]).match({"alertname": "A"}) == []


def test_patterns_beyond_the_memory_of_one_set_still_all_match() -> None:
    """RE2 says nothing when a set outgrows its memory: these patterns do, alone and together."""
    wide = [Pattern(rf"{n}.{{900}}x|.*svc-{n}-.*") for n in range(150)]

    assert sorted(PatternSet(wide).matching("svc-5-svc-149-")) == [5, 149]


def production_like(count: int) -> list[Lines]:
    texts = (
        (f'alertname="Alert{n}", namespace=~"team-{n % 50}-(prod|live)", severity!="info"', f"service=~svc-{n}-.*")
        for n in range(count)
    )
    return [[parse_matchers(line) for line in lines] for lines in texts]


def fastest(repeat: int, work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def test_a_thousand_rules_are_matched_in_microseconds() -> None:
    """The bound is several times what was measured (about 10 us), so that a busy machine does not fail it."""
    index = MatcherIndex(production_like(1000))
    alert = {"alertname": "Alert500", "namespace": "team-0-prod", "severity": "critical", "service": "svc-7-api"}

    assert index.match(alert) == [7, 500]
    assert fastest(200, lambda: index.match(alert)) < 100e-6


def test_five_thousand_rules_are_indexed_within_a_second() -> None:
    rules = production_like(5000)

    assert fastest(3, lambda: MatcherIndex(rules)) < 1
