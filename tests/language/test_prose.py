"""Prose reads like Jinja2 and cannot be made to cost more than a message is worth."""

import html
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.domain.errors import BadDocument
from remediator.language.prose import ProseError, parse_prose

VALUES = {
    "alert.name": "ServiceDown",
    "alert.labels": {"service": "api", "items": "a label", "team": "<db>"},
    "diagnose.pods.failing": 2,
    "diagnose.pods.names": ["api-1", "api-2"],
    "ratio": 0.125,
    "age": timedelta(minutes=90),
    "now": datetime(2026, 1, 5, 10, tzinfo=UTC),
    "nothing": None,
    "hostile": "{{ alert.name }} {% for x in y %}",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ alert.name }} on {{ alert.labels.service }}", "ServiceDown on api"),
        ("{{ alert['labels']['service'] }}", "api"),
        ("{{ diagnose.pods.names | join(', ') }}", "api-1, api-2"),
        ("{{ diagnose.pods.names[0] }} {{ diagnose.pods.names[:1] }}", 'api-1 ["api-1"]'),
        ("{% if diagnose.pods.failing > 1 %}many{% else %}one{% endif %}", "many"),
        ("{% for n in diagnose.pods.names %}{{ loop.index }}.{{ n }} {% endfor %}", "1.api-1 2.api-2 "),
        ("{% for n in diagnose.pods.names %}\n- {{ n }}\n{% endfor %}\n", "- api-1\n- api-2\n"),
        ("{{ age }} at {{ now }}", "1h30m at 2026-01-05T10:00:00Z"),
        ("{{ ratio * 100 }} {{ ratio | percent(1) }} {{ ratio | round(2) }}", "12.5 12.5 % 0.12"),
        ("{{ nothing }}", "unknown"),
        ("{{ nope | default('-') }} {{ alert.labels.nope | d('-') }}", "- -"),
        ("{{ 'yes' if alert.labels.nope is defined else 'no' }}", "no"),
        ("{{ alert.labels | dictsort | map('first') | join(' ') }}", "items service team"),
        ("{{ alert.labels.items }}", "a label"),
        ("{{ 7 // 2 }} {{ 7 % 2 }} {{ -1 + 3 }}", "3 1 2"),
        ("{{ 'a-b' | replace('-', '+') | upper }}", "A+B"),
        ("{# a note #}{% raw %}{{ x }}{% endraw %}", "{{ x }}"),
        ("{{ alert.labels.team | tojson }} {{ true }}", "<db> true"),
    ],
)
def test_prose_renders(text: str, expected: str) -> None:
    expected = expected.removesuffix("\n") if text.endswith("%}\n") and not expected.endswith("\n\n") else expected
    assert parse_prose(text).render(VALUES).removesuffix("\n") == expected.removesuffix("\n")


def test_what_an_alert_says_is_data_and_is_not_rendered_again() -> None:
    assert parse_prose("> {{ hostile }}").render(VALUES) == "> {{ alert.name }} {% for x in y %}"


def test_only_interpolated_values_are_escaped() -> None:
    prose = parse_prose("<b>{{ alert.labels.team }}</b> {{ '<i>' }}")

    assert prose.render(VALUES, escape=html.escape) == "<b>&lt;db&gt;</b> &lt;i&gt;"
    assert prose.render(VALUES) == "<b><db></b> <i>"


def test_prose_says_which_values_it_looks_at() -> None:
    prose = parse_prose("{{ alert.name }} {% for n in names %}{{ n }}{% endfor %}")

    assert prose.variables == {"alert", "names"}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a\n{{ b", 2, "unexpected end of template"),
        ("a\n\n{% if %}", 3, "Expected an expression"),
        ("{% endfor %}", 1, "unknown tag 'endfor'"),
        ("\n{{ a | uper }}", 2, "there is no filter 'uper' in prose; did you mean 'upper'?"),
        ("{% if a is defind %}{% endif %}", 1, "did you mean 'defined'?"),
        ("{{ a | center(1000000000) }}", 1, "no filter 'center'"),
        ("{{ '%1000000000s' | format('a') }}", 1, "no filter 'format'"),
        ("{{ a | attr('__class__') }}", 1, "no filter 'attr'"),
        ("{{ a | indent(100000) }}", 1, "no filter 'indent'"),
        ("{{ a | map('center') }}{{ a | xmlattr }}", 1, "no filter 'xmlattr'"),
        ("{{ range(10) }}", 1, "calls are not for prose"),
        ("{{ ''.join(a) }}", 1, "calls are not for prose"),
        ("{{ cycler('a') }}", 1, "calls are not for prose"),
        ("{{ 'a' ~ 'b' }}", 1, "'~' joins are not for prose"),
        ("{{ 9 ** 9 }}", 1, "powers are not for prose"),
        ("{% set a = 1 %}", 1, "assignments are not for prose"),
        ("{% macro m() %}{% endmacro %}", 1, "macro tags are not for prose"),
        ("{% include 'x' %}", 1, "include tags are not for prose"),
        ("{% extends 'x' %}", 1, "extends tags are not for prose"),
        ("{% import 'x' as y %}", 1, "import tags are not for prose"),
        ("{% block b %}{% endblock %}", 1, "block tags are not for prose"),
        ("{% filter upper %}{% endfilter %}", 1, "filterblock tags are not for prose"),
        ("{{ self }}", 1, "'self' is not for prose"),
        ("{% for a in x recursive %}{% endfor %}", 1, "recursive loops"),
        ("{% for a in x %}\n{% for b in [1, 2] %}{% endfor %}{% endfor %}", 2, "must go over a value"),
        ("{% for a in x %}{% for b in 'aaaa'|list %}{% endfor %}{% endfor %}", 1, "must go over a value"),
        ("(" * 10 + "{{ " + "(" * 5000 + "1", 1, "nests too deep"),
        ("x" * 70_000, 1, "may have 65536 characters"),
    ],
)
def test_what_prose_does_not_need_is_refused_at_load(text: str, line: int, says: str) -> None:
    with pytest.raises(ProseError) as caught:
        parse_prose(text)

    assert says in caught.value.message
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a\n{{ nope }}", 2, "'nope' is undefined"),
        ("{{ alert.labels.nope }}", 1, "no attribute 'nope'"),
        ("{{ alert.nope.deeper }}", 1, "no attribute 'nope'"),
        ("a\n{% for n in diagnose.pods.names %}\n{{ n.nope }}\n{% endfor %}", 3, "no attribute 'nope'"),
        ("{{ alert.__class__ }}", 1, "no attribute '__class__'"),
        ("{{ alert.labels.items.__init__ }}", 1, "no attribute '__init__'"),
        ("{{ now.year }}", 1, "no attribute 'year'"),
        ("{{ age.__class__.__mro__ }}", 1, "no attribute '__class__'"),
        ("{{ ratio.real }}", 1, "no attribute 'real'"),
        ("{{ alert.name | map(attribute='__class__') | list }}", 1, "no attribute '__class__'"),
        ("{{ diagnose.pods.names | map('attr', 'x') | list }}", 1, "No filter named 'attr'"),
        ("{{ diagnose.pods.names | select('callable') | list }}", 1, "No test named 'callable'"),
        ("{{ diagnose.pods.names[7] }}", 1, "there is no element 7 in 2"),
        ("{{ 'a' * 100000000 }}", 1, "'*' works on numbers only"),
        ("{{ '%1000000000s' % 'a' }}", 1, "'%' works on numbers only"),
        ("{{ alert.name + alert.name }}", 1, "'+' works on numbers only"),
        ("{{ 1 / 0 }}", 1, "division by zero"),
        ("{{ ratio | join }}", 1, "not iterable"),
        ("{% for a in ratio %}{% endfor %}", 1, "not iterable"),
        ("{{ nothing < 1 }}", 1, "not supported"),
        ("{{ alert[alert] }}", 1, "unhashable"),
        ("{% for a in big %}x{{ a }}{% endfor %}", 1, "longer than 65536"),
        ("{{ big | join('xxxxxxxxxxxxx') }}", 1, "longer than 65536"),
        ("{{ wide | replace('x', 'xxxxxxxxxx') }}", 1, "longer than 65536"),
        ("{% for a in big %}{% for b in big %}{% if false %}{% endif %}{% endfor %}{% endfor %}", 1, "50000 steps"),
        ("{% for a in big %}{% if (big | sort | first) == 1 %}{% endif %}{% endfor %}", 1, "50000 steps"),
    ],
)
def test_what_goes_wrong_while_rendering_is_a_prose_error_with_its_line(text: str, line: int, says: str) -> None:
    prose = parse_prose(text)
    values = {**VALUES, "big": list(range(20_000)), "wide": "x" * 30_000}

    with pytest.raises(ProseError) as caught:
        prose.render(values)

    assert says in caught.value.message
    assert caught.value.line == line


def test_the_dearest_template_stays_cheap() -> None:
    loops = "{% for a in big %}{% for b in big %}{% for c in big %}{{ '' }}{% endfor %}{% endfor %}{% endfor %}"
    prose = parse_prose(loops)
    started = time.perf_counter()

    with pytest.raises(ProseError, match="steps"):
        prose.render({"big": list(range(1000))})

    assert time.perf_counter() - started < 2


def test_values_are_left_as_they_were() -> None:
    labels = {"team": "db"}
    values = {"alert.labels": labels, "alert.labels.extra": 1}

    assert parse_prose("{{ alert.labels.team }}{{ alert.labels.extra }}").render(values) == "db1"
    assert labels == {"team": "db"}


@given(st.text(st.sampled_from("{}%# |abfor in()[]'\"~*.\n_0"), max_size=40))
def test_any_text_is_prose_or_a_document_error(text: str) -> None:
    try:
        parse_prose(text).render({"a": "x", "b": [1]})
    except BadDocument:
        return


@given(st.text(), st.text())
def test_any_value_is_carried_over(before: str, value: str) -> None:
    assert parse_prose("> {{ value }}").render({"value": value, "before": before}) == f"> {value}"
