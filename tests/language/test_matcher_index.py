"""The index answers what a plain loop over all rules would answer, only sooner."""

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
patterns = st.sampled_from(
    ["", ".*", ".+", "x|y", "x.*", "(?i)X", "é?", "[^x]+", "xy?", "xy*", "xy", "x(y|)", "x(y)|y", "xy{0,1}", r"x\|y|x"]
)
equalities = st.builds(Matcher, names, st.sampled_from([MatchOp.EQUAL, MatchOp.NOT_EQUAL]), values)
regexes = st.builds(Matcher, names, st.sampled_from([MatchOp.REGEX, MatchOp.NOT_REGEX]), patterns)
selectors = (
    st.lists(equalities | regexes, min_size=1, max_size=4).map(tuple).filter(lambda found: not is_unselective(found))
)
rule_sets = st.lists(st.lists(selectors, max_size=3), max_size=24)
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


def one_alert_for_all(count: int) -> list[Lines]:
    return [[parse_matchers(f'alertname="PodCrashLooping", severity!="info", team="t{n}"')] for n in range(count)]


def one_alert_and_regexes(count: int) -> list[Lines]:
    return [[parse_matchers(f'alertname="PodCrashLooping", namespace=~"team-{n}-(prod|live)"')] for n in range(count)]


def regexes_that_begin_with_anything(count: int) -> list[Lines]:
    return [[parse_matchers(f'alertname="PodCrashLooping", namespace=~"(eu|us)-team-{n}"')] for n in range(count)]


ALERT = {
    "alertname": "PodCrashLooping",
    "namespace": "team-7-prod",
    "severity": "critical",
    "team": "t7",
    "service": "svc-7-a",
}


@pytest.mark.parametrize(
    "rules", [production_like, one_alert_for_all, one_alert_and_regexes, regexes_that_begin_with_anything]
)
@pytest.mark.parametrize("labels", [ALERT, {**ALERT, "namespace": "eu-team-7"}, {}, {"alertname": "Unheard"}])
def test_an_alert_is_held_against_no_more_lines_when_there_are_more_rules(
    rules: Callable[[int], list[Lines]], labels: dict[str, str]
) -> None:
    few, many = MatcherIndex(rules(10)), MatcherIndex(rules(2000))

    assert len(many.candidates(labels)) <= max(len(few.candidates(labels)), 1)
    assert many.match(labels) == few.match(labels)


@given(st.sampled_from(["svc-1", "a.b", "x", "xy", "xyy", "y", "ab|c", "abd", "a", ""]), patterns)
def test_what_matches_a_pattern_begins_with_its_literal_start(text: str, pattern: str) -> None:
    if Pattern(pattern).matches(text):
        assert text.startswith(Pattern(pattern).prefix)


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("svc-1-.*", "svc-1-"),
        ("team-1-(prod|live)", "team-1-"),
        ("abc", "abc"),
        ("abc?", "ab"),
        ("abc+", "abc"),
        ("abc{2}", "ab"),
        ("abc|abd", ""),
        ("abc.*|d", ""),
        (r"abc\(|d\)", ""),
        ("abc[(]|d[)]", ""),
        ("(?i)abc", ""),
        (".*abc", ""),
    ],
)
def test_a_literal_start_is_what_is_plain_to_see(pattern: str, prefix: str) -> None:
    assert Pattern(pattern).prefix == prefix
