"""What an alert says stays one value in a text that another system reads, whatever it holds."""

import re

import promql_parser
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from redis import Redis
from yarl import URL

from remediator.language.expression import CelType, EvaluationError, ExpressionError, Scope
from remediator.language.template import parse_template
from remediator.language.text_kind import (
    SQL,
    PlainText,
    PromqlText,
    RedisPattern,
    TextKind,
    UrlText,
    with_values_kept_apart,
)

SCOPE = Scope({"x": CelType.STRING, "failing": CelType.INT, "names": CelType.list_of(CelType.STRING)})
HOSTILE = st.text(
    st.one_of(st.sampled_from("\\\"'`*?[]^-{}()|.+$/:@#%&=;, \n\r\t~!<>é2fF"), st.characters(codec="utf-8")), min_size=1
).filter(lambda value: "\0" not in value)


def written(text: str, kind: TextKind, value: object) -> str:
    rendered = with_values_kept_apart(parse_template(text, SCOPE), kind).render({"x": value, "failing": 2})
    assert isinstance(rendered, str)
    return rendered


@pytest.mark.parametrize(
    ("kind", "text", "value", "expected"),
    [
        (RedisPattern(), "tenant:${{ x }}:*", "*", r"tenant:\*:*"),
        (RedisPattern(), "tenant:${{ x }}:*", r"a\[b]?", r"tenant:a\\\[b\]\?:*"),
        (RedisPattern(), "tenant:${{ failing }}:[ab]${{ x }}", "-", "tenant:2:[ab]-"),
        (RedisPattern(), "a*${{ x }}", "a*", r"a*a\*"),
        (UrlText(), "http://api/${{ x }}/health", "../admin?a=b#c", "http://api/..%2Fadmin%3Fa%3Db%23c/health"),
        (UrlText(), "https://api:8443?of=${{ x }}&n=1", "a&n=2", "https://api:8443?of=a%26n%3D2&n=1"),
        (UrlText(), "http://api/${{ x }}-${{ failing }}", "é ", "http://api/%C3%A9%20-2"),
        (PromqlText(), 'up{a="${{ x }}"}', 'x"} or vector(0) or up{a="', r'up{a="x\"} or vector(0) or up{a=\""}'),
        (PromqlText(), "up{a!='${{ x }}'} > 1", "it's \\ \n", r"up{a!='it\'s \\ \n'} > 1"),
        (PromqlText(), 'up{a=~ "${{ x }}-.*"}', "b.*", r'up{a=~ "b\\.\\*-.*"}'),
        (PromqlText(), 'up{a!~"${{ failing }}|${{ x }}"}', "|", r'up{a!~"2|\\|"}'),
        (PromqlText(), 'up # isn\'t it\n{a="${{ x }}"}', "b", 'up # isn\'t it\n{a="b"}'),
        (PlainText(), "says ${{ x }}", "'*", "says '*"),
    ],
)
def test_a_value_is_escaped_for_its_place(kind: TextKind, text: str, value: str, expected: str) -> None:
    assert written(text, kind, value) == expected


@pytest.mark.parametrize(
    ("kind", "text", "column", "says"),
    [
        (SQL, "SELECT '${{ x }}'", 9, r"no value can stand in this text: write \$1 in its place"),
        (SQL, "${{ x }}", 1, "no value can stand"),
        (RedisPattern(), "${{ x }}*", 1, "must not choose whose keys are meant: write out how they begin"),
        (RedisPattern(), "${{ x }}", 1, "whose keys"),
        (RedisPattern(), "*${{ x }}", 2, "whose keys"),
        (RedisPattern(), "?:${{ x }}", 3, "whose keys"),
        (RedisPattern(), "[a]${{ x }}", 4, "whose keys"),
        (RedisPattern(), "\\*${{ x }}", 3, "whose keys"),
        (RedisPattern(), "a[${{ x }}]", 3, "between"),
        (RedisPattern(), "a[b]${{ x }}[${{ x }}]", 14, "between"),
        (RedisPattern(), "a\\${{ x }}", 3, "after"),
        (RedisPattern(), "a\\\\\\${{ x }}", 5, "after"),
        (UrlText(), "${{ x }}", 1, "choose whom we call"),
        (UrlText(), "http://${{ x }}/health", 8, "choose whom we call"),
        (UrlText(), "http://api${{ x }}/health", 11, "choose whom we call"),
        (UrlText(), "http://api:${{ failing }}/health", 12, "choose whom we call"),
        (UrlText(), "http://api\\${{ x }}/health", 12, "choose whom we call"),
        (UrlText(), "${{ x }}://api/health", 1, "choose whom we call"),
        (UrlText(), "http://api/%${{ x }}", 13, "inside a % escape"),
        (UrlText(), "http://api/%2${{ x }}", 14, "inside a % escape"),
        (PromqlText(), "${{ x }}", 1, "between the quotes"),
        (PromqlText(), "up > ${{ failing }}", 6, "between the quotes"),
        (PromqlText(), "up{a=${{ x }}}", 6, "between the quotes"),
        (PromqlText(), 'up{"${{ x }}"="a"}', 5, "between the quotes"),
        (PromqlText(), 'up{a="b"} ${{ x }}', 11, "between the quotes"),
        (PromqlText(), 'up{a="\\""${{ x }}', 10, "between the quotes"),
        (PromqlText(), 'label_replace(up, "a", "$1", "b", "${{ x }}")', 36, "between the quotes"),
        (PromqlText(), 'up # a="${{ x }}"', 9, "between the quotes"),
        (PromqlText(), 'up == "${{ x }}"', 8, "between the quotes"),
        (PromqlText(), "up{a=`${{ x }}`}", 7, "backticks"),
        (PromqlText(), 'up{a="\\${{ x }}"}', 8, "after"),
    ],
)
def test_a_value_without_a_place_is_refused_at_its_marker(kind: TextKind, text: str, column: int, says: str) -> None:
    with pytest.raises(ExpressionError, match=says) as caught:
        with_values_kept_apart(parse_template(text, SCOPE), kind)

    assert (caught.value.line, caught.value.column) == (1, column)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (RedisPattern(), "tenant:${{ x }}*", ""),
        (UrlText(), "http://api/${{ x }}/health", ""),
        (UrlText(), "http://api/${{ x }}/health", ".."),
        (UrlText(), "http://api/.${{ x }}/health", "."),
        (PromqlText(), 'up{pod="${{ x }}"}', ""),
        (PlainText(), "${{ x }}", ""),
    ],
)
def test_a_value_that_leaves_another_text_is_none(kind: TextKind, text: str, value: str) -> None:
    with pytest.raises(EvaluationError):
        written(text, kind, value)


@given(value=HOSTILE)
@example(value="*")
@example(value="\\")
def test_no_value_widens_a_pattern(value: str, valkey_url: str) -> None:
    own, other = f"tenant:{value}:a", "tenant:somebody else:a"
    with Redis.from_url(valkey_url) as redis:
        redis.mset({own: 1, other: 1})
        found = redis.keys(written("tenant:${{ x }}:[a-b]*", RedisPattern(), value))
        redis.delete(own, other)

    assert found == [own.encode()]


@given(HOSTILE)
@example("%2e%2e")
@example("a/../../b")
def test_no_value_changes_whom_a_url_calls_or_what_for(value: str) -> None:
    try:
        url = URL(written("http://api:80/a/${{ x }}/b?c=${{ x }}&d=1", UrlText(), value))
    except EvaluationError:
        assert not value.strip(".")
        return

    assert (url.host, url.port, url.fragment, url.user) == ("api", 80, "", None)
    assert (len(url.raw_parts), url.raw_parts[1], url.raw_parts[3]) == (4, "a", "b")
    assert url.parts[2] == value
    assert dict(url.query) == {"c": value, "d": "1"}


@given(HOSTILE, st.sampled_from("\"'"), st.sampled_from(["=", "!=", "=~", "!~"]))
@example('x"} or vector(0) or up{a="', '"', "=")
@example("\\", "'", "=~")
def test_no_value_changes_what_a_query_asks(value: str, mark: str, operator: str) -> None:
    text = written(f"sum(up{{a{operator}{mark}${{{{ x }}}}{mark}, b='c'}}) > 1", PromqlText(), value)

    sides = promql_parser.parse(text)
    assert isinstance(sides, promql_parser.BinaryExpr)
    assert isinstance(sides.lhs, promql_parser.AggregateExpr)
    asked = sides.lhs.expr
    assert isinstance(asked, promql_parser.VectorSelector)
    matchers = asked.matchers.matchers
    assert [matcher.name for matcher in matchers] == ["a", "b"]
    given_value = matchers[0].value
    assert re.fullmatch(given_value, value) if "~" in operator else given_value == value
