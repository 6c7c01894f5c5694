"""The matcher grammar is Alertmanager's: its own parser's cases, said again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.language.matcher import Matcher, MatcherSyntaxError, MatchOp, parse_matchers, parse_selector

EQUAL, NOT_EQUAL, REGEX, NOT_REGEX = MatchOp


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("{}", []),
        (" { } ", []),
        ("{foo=bar}", [("foo", EQUAL, "bar")]),
        ("{foo=bar,}", [("foo", EQUAL, "bar")]),
        ("{foo!=bar}", [("foo", NOT_EQUAL, "bar")]),
        ("{foo=~[a-z]+}", [("foo", REGEX, "[a-z]+")]),
        ("{foo!~[a-z]+}", [("foo", NOT_REGEX, "[a-z]+")]),
        ("{foo=🙂}", [("foo", EQUAL, "🙂")]),
        ("{foo=🙂bar}", [("foo", EQUAL, "🙂bar")]),
        ("foo=bar", [("foo", EQUAL, "bar")]),
        ("foo=bar,", [("foo", EQUAL, "bar")]),
        ("foo!=bar", [("foo", NOT_EQUAL, "bar")]),
        ("foo=~[a-z]+", [("foo", REGEX, "[a-z]+")]),
        ("foo!~[a-z]+", [("foo", NOT_REGEX, "[a-z]+")]),
        ('{"foo"="bar"}', [("foo", EQUAL, "bar")]),
        ('{"foo"="bar",}', [("foo", EQUAL, "bar")]),
        ('{"foo"!="bar"}', [("foo", NOT_EQUAL, "bar")]),
        ('{"foo"=~"[a-z]+"}', [("foo", REGEX, "[a-z]+")]),
        ('{"foo"="🙂"}', [("foo", EQUAL, "🙂")]),
        (r'{"foo"="\xf0\x9f\x99\x82"}', [("foo", EQUAL, "🙂")]),
        (r'{"foo"="\360\237\231\202"}', [("foo", EQUAL, "🙂")]),
        (r'{"foo"="\U0001f642"}', [("foo", EQUAL, "🙂")]),
        (r'{"foo"="\u00e9"}', [("foo", EQUAL, "é")]),
        (r'{"foo"="bar\n"}', [("foo", EQUAL, "bar\n")]),
        (r'{"foo"="bar\t"}', [("foo", EQUAL, "bar\t")]),
        (r'{"foo"="\"bar\""}', [("foo", EQUAL, '"bar"')]),
        (r'{"foo"="bar\\"}', [("foo", EQUAL, "bar\\")]),
        ('"foo"="bar",', [("foo", EQUAL, "bar")]),
        ("{foo=bar,bar!=baz}", [("foo", EQUAL, "bar"), ("bar", NOT_EQUAL, "baz")]),
        ('foo="bar",bar!="baz"', [("foo", EQUAL, "bar"), ("bar", NOT_EQUAL, "baz")]),
        ('{foo=""}', [("foo", EQUAL, "")]),
        ('{foo="bar,quux", job="job1"}', [("foo", EQUAL, "bar,quux"), ("job", EQUAL, "job1")]),
        ('{foo = "bar", dings != "bums", }', [("foo", EQUAL, "bar"), ("dings", NOT_EQUAL, "bums")]),
        ('statuscode=~"5.."', [("statuscode", REGEX, "5..")]),
        ('{name-with-dashes = "bar"}', [("name-with-dashes", EQUAL, "bar")]),
        ('a != "\\"" , b !~ "foo,bar" , ', [("a", NOT_EQUAL, '"'), ("b", NOT_REGEX, "foo,bar")]),
        ('{quote="She said: \\"Hi, ladies! That\'s…\\""}', [("quote", EQUAL, 'She said: "Hi, ladies! That\'s…"')]),
        ("\n{\tfoo\r\n=\u202fbar\u3000}\n", [("foo", EQUAL, "bar")]),
        ("hello:world=$1.50", [("hello:world", EQUAL, "$1.50")]),
        ('""=x', [("", EQUAL, "x")]),
        ("a=b\x1cc", [("a", EQUAL, "b\x1cc")]),
    ],
)
def test_what_alertmanager_accepts_is_accepted(text: str, expected: list[tuple[str, MatchOp, str]]) -> None:
    assert parse_matchers(text) == tuple(Matcher(*parts) for parts in expected)


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        (",", 1, "unexpected ,: expected a label name"),
        ("{,}", 2, "unexpected ,: expected a label name"),
        ("{", 2, "unexpected end of input: expected a close brace"),
        ("}", 1, "there is no opening brace"),
        ("foo=bar}", 8, "there is no opening brace"),
        ("{foo=bar", 9, "unexpected end of input: expected a close brace"),
        ('{foo=:"bar"}', 7, 'unexpected "bar": expected a comma or close brace'),
        (r'{foo="bar\w"}', 6, "not a valid quoted string"),
        ('{foo="bar\nbaz"}', 6, "not a valid quoted string"),
        (r"{foo=bar\n}", 9, r"\\: invalid input"),
        (r'{"foo"="\xf0\x9f"}', 8, "not a valid quoted string"),
        (r'{foo="\ud800"}', 6, "not a valid quoted string"),
        (r'{foo="\400"}', 6, "not a valid quoted string"),
        (r'foo="\'"', 5, "not a valid quoted string"),
        ("!", 1, "expected '!=' or '!~'"),
        ("a!!", 2, "expected '!=' or '!~'"),
        ("~", 1, "~: invalid input"),
        ("a=!", 3, "expected '!=' or '!~'"),
        ("'a'=b", 1, "invalid input"),
        ("`a`=b", 1, "invalid input"),
        ('"hello', 1, 'missing end "'),
        ('"hello\\"', 1, 'missing end "'),
        ("hello", 6, "expected an operator"),
        ("hello world", 7, "expected an operator"),
        ("foo=", 5, "expected a label value"),
        ("{foo=}", 6, "expected a label value"),
        ("{foo=,bar=}}", 6, "expected a label value"),
        ("tricky=~~~", 9, "invalid input"),
        ("{foo=bar}}", 10, "expected the end of input"),
        ("{foo=bar} x", 11, "expected the end of input"),
        ("{foo=bar},", 10, "expected the end of input"),
        ("{{foo=bar}", 2, "expected a label name"),
        ("foo=bar,,", 9, "expected a matcher or close brace"),
        ("foo=bar baz=qux", 9, "expected a comma or close brace"),
        ('job="value', 5, 'missing end "'),
        ('job=value"', 10, 'missing end "'),
        (r'"{foo=\"bar"}', 13, "expected an operator"),
        (r'"foo=\"bar\""', 14, "expected an operator"),
        ('foo=~"invalid[regexp"', 6, "not a regular expression: missing ]"),
        ('foo=~"(?=a)b"', 6, "not a regular expression: invalid perl operator"),
        ('foo=~"(a)\\\\1"', 6, "not a regular expression"),
        ('foo=~"a)(b"', 6, "not a regular expression"),
        ('foo=~"(x{1000}){1000}"', 6, "not a regular expression"),
    ],
)
def test_what_alertmanager_refuses_is_refused_at_its_column(text: str, column: int, says: str) -> None:
    with pytest.raises(MatcherSyntaxError, match=says) as caught:
        parse_matchers(text)

    assert caught.value.column == column


@pytest.mark.parametrize(
    ("matcher", "value", "expected"),
    [
        ("a=x", "x", True),
        ("a=x", "X", False),
        ("a!=x", "", True),
        ('a=""', "", True),
        ("a=~prod", "production", False),
        ("a=~prod|live", "live", True),
        ("a=~prod|live", "production", False),
        ("a=~prod.*", "production", True),
        ("a=~a.b", "a\nb", False),
        ("a!~prod", "production", True),
        ("a!~prod", "prod", False),
        ("a=~.*", "", True),
        ("a=~.+", "", False),
        ('a=~"(?i)PROD"', "prod", True),
        ("a=~🙂+", "🙂🙂", True),
        ("a=~.", "\ud800", True),
    ],
)
def test_a_regular_expression_matches_the_whole_value(matcher: str, value: str, *, expected: bool) -> None:
    assert parse_matchers(matcher)[0].matches(value) is expected


def test_a_missing_label_is_an_empty_one() -> None:
    matchers = parse_matchers('team="", env!=prod')

    assert all(matcher.holds({"alertname": "x"}) for matcher in matchers)


def test_a_catastrophic_pattern_costs_nothing() -> None:
    matcher = parse_matchers('path=~"(a+)+b"')[0]

    assert not matcher.matches("a" * 28_000 + "!")


@pytest.mark.parametrize("text", ["", "{}", "a!=b", 'a=""', "a=~.*", "a!~.+,b!=c"])
def test_a_selector_that_would_match_anything_is_refused(text: str) -> None:
    with pytest.raises(MatcherSyntaxError, match="must not match the empty string"):
        parse_selector(text)


def test_a_selector_may_hold_empty_matches_beside_a_narrowing_one() -> None:
    assert len(parse_selector('a=b, team=""')) == 2
    assert len(parse_selector('team!=""')) == 1


well_formed = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(st.builds(Matcher, well_formed, st.sampled_from([EQUAL, NOT_EQUAL]), well_formed))
def test_a_written_matcher_reads_back_the_same(matcher: Matcher) -> None:
    assert parse_matchers(str(matcher)) == (matcher,)
    assert parse_matchers(f"{{{matcher}}}") == (matcher,)


@given(st.text(st.sampled_from("{}!=~,\\\"'` \nab.*[(é🙂\ud800\x00"), max_size=20))
def test_any_text_is_matchers_or_an_error_inside_it(text: str) -> None:
    try:
        parse_matchers(text)
    except MatcherSyntaxError as error:
        column = error.column
    else:
        column = 1

    assert 1 <= column <= len(text) + 1


def read(text: str) -> tuple[Matcher, ...] | str:
    """Or what is wrong with it."""
    try:
        return parse_matchers(text)
    except MatcherSyntaxError as error:
        return error.message


parts = st.sampled_from(
    ["{", "}", "a", "b_1", " ", "=", "!=", "=~", "!~", '"x"', '"a|b"', '"("', '"\\n"', '"é"', ",", "c"]
)


@given(st.lists(parts, max_size=10).map("".join) | st.just('{a="x", b_1=~"a|b" , c!="é",}'))
def test_the_usual_way_of_writing_is_read_as_the_grammar_reads_it(text: str) -> None:
    """With a tab before it, no text is written in the usual way."""
    assert read(text) == read(f"\t{text}")
