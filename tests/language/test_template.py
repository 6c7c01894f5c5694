"""`${{ }}` keeps the type of a lone marker and is never rendered twice."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.language.expression import CelType, EvaluationError, ExpressionError, Scope
from remediator.language.template import compile_value, has_marker, parse_template

SCOPE = Scope(
    {
        "alert.labels": CelType.map_of(CelType.STRING),
        "alert.name": CelType.STRING,
        "failing": CelType.INT,
        "ratio": CelType.DOUBLE,
        "age": CelType.DURATION,
        "now": CelType.TIMESTAMP,
        "names": CelType.list_of(CelType.STRING),
    }
)
VALUES = {
    "alert.labels": {"deployment": "api", "note": "${{ alert.name }}"},
    "alert.name": "Down",
    "failing": 2,
    "ratio": 0.5,
    "age": timedelta(minutes=90),
    "now": datetime(2026, 1, 5, 10, tzinfo=UTC),
    "names": ["a", "b"],
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${{ failing }}", 2),
        ("  ${{failing}}\n", 2),
        ("${{ names }}", ["a", "b"]),
        ("${{ age }}", timedelta(minutes=90)),
        ("${{ {'a': {'b': failing}} }}", {"a": {"b": 2}}),
        ('${{ "}}" }}', "}}"),
        ("${{ '${{ x }}' }}", "${{ x }}"),
        ("plain", "plain"),
        ("", ""),
        ("100% of {{ x }} and ${ y }", "100% of {{ x }} and ${ y }"),
        ("${{ alert.name }}: ${{ failing }} failing", "Down: 2 failing"),
        ("since ${{ age }} at ${{ now }}", "since 1h30m at 2026-01-05T10:00:00Z"),
        ("${{ ratio }} ${{ 2.0 }} ${{ true }}", "0.5 2 true"),
        ("in ${{ names }} of ${{ {'a': age} }}", 'in ["a", "b"] of {"a": "1h30m"}'),
        ("${{ failing }}${{ failing }}", "22"),
    ],
)
def test_a_template_renders(text: str, expected: object) -> None:
    assert parse_template(text, SCOPE).render(VALUES) == expected


def test_what_a_label_holds_is_data_and_is_not_rendered_again() -> None:
    assert parse_template("${{ alert.labels.note }}", SCOPE).render(VALUES) == "${{ alert.name }}"
    assert parse_template("> ${{ alert.labels.note }}", SCOPE).render(VALUES) == "> ${{ alert.name }}"


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("abc ${{ nosuch }}", 1, 9, "unknown name"),
        ("a\n  b ${{ failing + nosuch }}", 2, 19, "unknown name"),
        ("${{ failing +\n   nosuch }}", 2, 4, "unknown name"),
        ("ok ${{ failing }} ${{ failing", 1, 19, "has no closing"),
        ("${{ }}", 1, 5, "ends too early"),
        ("${{ '}}", 1, 5, "cannot read"),
    ],
)
def test_a_mistake_is_placed_inside_the_text(text: str, line: int, column: int, says: str) -> None:
    with pytest.raises(ExpressionError, match=says) as caught:
        parse_template(text, SCOPE)

    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("${{ alert.labels.nope }}", 'there is no key "nope"'),
        ("x ${{ null }}", "null is null"),
        ("${{ names }} ${{ alert.name }}", "alert.name has no value"),
    ],
)
def test_no_value_is_an_error_and_not_empty_text(text: str, says: str) -> None:
    with pytest.raises(EvaluationError, match=says):
        parse_template(text, SCOPE).render({**VALUES, "alert.name": None})


def test_the_text_is_capped() -> None:
    template = parse_template("> ${{ alert.name }}", SCOPE)

    with pytest.raises(EvaluationError, match="more than 65536"):
        template.render({"alert.name": "x" * 70_000})


@pytest.mark.parametrize("text", ["x" * 70_000, "x" * 40_000 + "${{ alert.name }}" + "x" * 30_000])
def test_a_text_that_is_too_long_with_no_value_in_it_is_told_when_it_is_read(text: str) -> None:
    with pytest.raises(ExpressionError, match="the text has 70000 characters, more than 65536"):
        parse_template(text, SCOPE)


def test_nested_values_render_in_place() -> None:
    value = compile_value(
        {"by": 2, "name": "${{ alert.labels.deployment }}", "list": ["${{ failing }}", {"x": "p-${{ failing }}"}]},
        SCOPE,
    )

    assert value.render(VALUES) == {"by": 2, "name": "api", "list": [2, {"x": "p-2"}]}
    assert not value.is_constant


def test_a_mistake_in_a_nested_value_says_where_it_is() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_value({"a": [1, {"b": "x ${{ failng }}"}]}, SCOPE)

    assert caught.value.path == ("a", 1, "b")
    assert caught.value.column == 7
    assert caught.value.hint == "did you mean 'failing'?"


@pytest.mark.parametrize(
    ("value", "constant", "kind"),
    [
        ("x", True, "string"),
        (1, True, "int"),
        (True, True, "bool"),
        (None, True, "dyn"),
        (timedelta(1), True, "duration"),
        ("${{ failing }}", False, "int"),
        ("n ${{ failing }}", False, "string"),
        (["a", "${{ alert.name }}"], False, "list(string)"),
        (["a", 1], True, "list(dyn)"),
        ({"a": "${{ age }}"}, False, "map(string, duration)"),
        ([], True, "list(dyn)"),
    ],
    ids=str,
)
def test_type_and_constancy_are_known_at_load(value: object, *, constant: bool, kind: str) -> None:
    compiled = compile_value(value, SCOPE)

    assert compiled.is_constant is constant
    assert str(compiled.type) == kind


def test_values_that_nest_without_end_are_refused() -> None:
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(ExpressionError, match="nest deeper"):
        compile_value(endless, SCOPE)


@given(st.text(st.sampled_from("${} \nfailing'\"+1é")))
def test_any_text_is_a_template_or_an_expression_error_inside_it(text: str) -> None:
    try:
        template = parse_template(text, SCOPE)
    except ExpressionError as error:
        line = error.line
    else:
        line = 1
        assert has_marker(text) or template.render({}) == text

    assert 1 <= line <= text.count("\n") + 1
