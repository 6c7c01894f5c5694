"""Expressions are checked at load and never false in silence."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType
from uuid import UUID
from weakref import ref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.domain.errors import BadDocument
from remediator.domain.mode import Mode
from remediator.language.expression import (
    BadName,
    CelType,
    EvaluationError,
    ExpressionError,
    Scope,
    python_type_to_cel,
)

SCOPE = Scope(
    {
        "alert.labels": CelType.map_of(CelType.STRING),
        "alert.status": CelType.STRING,
        "alert.starts_at": CelType.TIMESTAMP,
        "now": CelType.TIMESTAMP,
        "diagnose.pods.failing": CelType.INT,
        "diagnose.pods.names": CelType.list_of(CelType.STRING),
        "diagnose.pods.ready": CelType.BOOL,
        "diagnose.usage.cpu": CelType.DOUBLE,
        "diagnose.rollout.age": CelType.DURATION,
        "diagnose.raw": CelType.DYN,
        "numbers": CelType.list_of(CelType.INT),
    }
)
VALUES: Mapping[str, object] = {
    "alert.labels": {"severity": "page", "team": "db"},
    "alert.status": "firing",
    "alert.starts_at": datetime(2026, 1, 5, 9, tzinfo=UTC),
    "now": datetime(2026, 1, 5, 10, tzinfo=UTC),
    "diagnose.pods.failing": 2,
    "diagnose.pods.names": ("api-1", "api-2"),
    "diagnose.pods.ready": False,
    "diagnose.usage.cpu": 0.75,
    "diagnose.rollout.age": timedelta(minutes=12),
    "diagnose.raw": {"replicas": 3, "ratio": Decimal("0.5")},
    "numbers": list(range(200)),
}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("diagnose.pods.failing > 0 && diagnose.usage.cpu > 0.7", True),
        ('alert.labels.severity == "page"', True),
        ('alert.labels["team"]', "db"),
        ('alert.labels[?"nope"].orValue("none")', "none"),
        ("has(alert.labels.nope)", False),
        ('"team" in alert.labels', True),
        ("now - alert.starts_at", timedelta(hours=1)),
        ('alert.starts_at + duration("5m")', datetime(2026, 1, 5, 9, 5, tzinfo=UTC)),
        ('diagnose.rollout.age < duration("30m")', True),
        ("diagnose.pods.names", ["api-1", "api-2"]),
        ('diagnose.pods.names.join(" ")', "api-1 api-2"),
        ("size(diagnose.pods.names) * 2", 4),
        ("math.greatest(diagnose.pods.failing, 5)", 5),
        ("diagnose.raw.replicas", 3),
        ("diagnose.raw.ratio", 0.5),
        ('alert.status.matches("fir.*")', True),
        ("(alert).labels.team", "db"),
        ("alert // the alert\n . labels . team", "db"),
        ("{'a': diagnose.pods.failing}", {"a": 2}),
        ("null", None),
        ("diagnose.pods.failing > 0 || diagnose.raw.nope", True),
    ],
)
def test_an_expression_answers_in_python_values(source: str, expected: object) -> None:
    assert SCOPE.compile(source).evaluate(VALUES) == expected


@pytest.mark.parametrize(
    ("source", "line", "column", "says"),
    [
        ("alert.lables.severity", 1, 1, "unknown name 'alert.lables.severity': did you mean 'alert.labels'?"),
        ("true && diagnose.pods.fialing > 1", 1, 9, "did you mean 'diagnose.pods.failing'?"),
        ("alert.startsAt", 1, 1, "did you mean 'alert.starts_at'?"),
        ("diagnose.pods", 1, 1, "it holds diagnose.pods.failing, diagnose.pods.names, diagnose.pods.ready"),
        ("1 ==\n\n  nosuch", 3, 3, "unknown name 'nosuch'"),
        ('"é" + nosuch', 1, 7, "unknown name 'nosuch'"),
        ("foo(1)", 1, 1, "unknown name 'foo'"),
        ("alert.status == 3", 1, 14, "'==' does not work on (string, int)"),
        ("diagnose.usage.cpu > 1", 1, 20, "write 1.0 instead of 1"),
        ("alert.labels.team.x", 1, 18, "cannot be the operand of a select"),
        ("", 1, 1, "the expression ends too early"),
        ("1 +", 1, 4, "the expression ends too early"),
        ("1 2", 1, 3, "unexpected '2'"),
        ('"abc', 1, 1, "cannot read"),
        ("\ud800", 1, 1, "not a Unicode character"),
        ("(" * 40 + "1" + ")" * 40, 1, 1, "recursion limit"),
        ("1 + " * 1200 + "1", 1, 4096, "may have 4096 characters"),
        ("alert.labels.?team", 1, 1, "add .orValue(...)"),
        ("[alert.labels.?team]", 1, 1, "add .orValue(...)"),
        ("b'x'", 1, 1, "the result is bytes"),
        ("1 < 2 && has((alert.status))", 1, 10, "has() takes a name"),
    ],
)
def test_a_mistake_is_found_at_load_with_its_place(source: str, line: int, column: int, says: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        SCOPE.compile(source)

    assert says in str(caught.value)
    assert (caught.value.line, caught.value.column) == (line, column)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ('alert.labels.nope == "x"', 'there is no key "nope"'),
        ("1 / 0 > 1", "divide by zero"),
        ("diagnose.pods.names[7]", "Index error"),
        ("9223372036854775807 + diagnose.pods.failing", "integer overflow"),
        ('timestamp("soon")', "Timestamp conversion failed"),
        ('alert.status.matches("(?=x)")', "invalid regular expression"),
        ("numbers.all(a, numbers.all(b, a + b >= 0))", "more than 10,000 steps"),
        ("dyn(optional.of(1))", "not a plain value"),
        ("dyn(b'x')", "the result is bytes"),
        ("diagnose.raw.replicas.size() > 1", "No matching overload"),
    ],
)
def test_no_answer_is_an_error_and_not_false(source: str, says: str) -> None:
    expression = SCOPE.compile(source)

    with pytest.raises(EvaluationError, match=says):
        expression.evaluate(VALUES)


@pytest.mark.parametrize("gone", [{}, {"diagnose.rollout.age": None}], ids=["absent", "none"])
def test_a_value_that_is_not_there_is_named(gone: dict[str, object]) -> None:
    expression = SCOPE.condition('diagnose.rollout.age > duration("1h")')

    with pytest.raises(EvaluationError, match=r"^diagnose\.rollout\.age has no value$"):
        expression.evaluate(gone)


def test_a_value_that_is_not_there_harms_only_those_who_need_it() -> None:
    expression = SCOPE.condition('diagnose.pods.failing > 0 || diagnose.rollout.age > duration("1h")')

    assert expression.evaluate({"diagnose.pods.failing": 1}) is True


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("has(diagnose.rollout.age)", False),
        ("has( diagnose . usage . cpu )", True),
        ("has(.diagnose.usage.cpu)", True),
        ("has(diagnose.pods.ready)", True),
        ('has(diagnose.rollout.age) && diagnose.rollout.age > duration("1h")', False),
        ("has(diagnose.raw.replicas) && !has(diagnose.raw.nope)", True),
        ('"has(diagnose.rollout.age)" == "x"', False),
    ],
)
def test_has_asks_whether_a_variable_has_a_value(source: str, *, expected: bool) -> None:
    """In plain CEL `has(a.b)` on a dotted variable yields the variable: `ready: false` would read as absent."""
    values = {**VALUES, "diagnose.rollout.age": None}

    assert SCOPE.condition(source).evaluate(values) is expected


def test_has_keeps_the_columns_of_what_follows() -> None:
    with pytest.raises(ExpressionError) as caught:
        SCOPE.compile("has( diagnose.rollout.age ) && nosuch")

    assert caught.value.column == 32


@pytest.mark.parametrize("source", ["alert.status", "diagnose.pods.failing", "diagnose.raw.ok", "null"])
def test_a_condition_must_be_true_or_false(source: str) -> None:
    with pytest.raises(ExpressionError, match="a condition must be true or false"):
        SCOPE.condition(source)


def test_hostile_text_is_not_cut_at_a_nul_character() -> None:
    """The binding hands text over as a C string: "prod\\0-test" would equal "prod"."""
    expression = SCOPE.condition('alert.status == "prod" || alert.labels.team == "prod" || "prod" in diagnose.raw')
    values = {"alert.status": "prod\x00-test", "alert.labels": {"team": "prod\x00"}, "diagnose.raw": {"prod\x00": 1}}

    assert expression.evaluate(values) is False


def test_lone_surrogates_are_replaced() -> None:
    assert SCOPE.compile("alert.status").evaluate({"alert.status": "a\ud800b"}) == "a\ufffd\ufffd\ufffdb"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"at": datetime(2026, 1, 5, tzinfo=UTC)}, {"at": "2026-01-05T00:00:00+00:00"}),
        ({"age": timedelta(minutes=5)}, {"age": "300.000000s"}),
        ((1, {2}), [1, [2]]),
        (UUID(int=1), str(UUID(int=1))),
        (Mode.ACT, "act"),
        (2**40, 2**40),
    ],
    ids=repr,
)
def test_untyped_values_become_json_like(value: object, expected: object) -> None:
    assert SCOPE.compile("diagnose.raw").evaluate({"diagnose.raw": value}) == expected


def test_moments_and_durations_inside_untyped_values_can_be_read_back() -> None:
    raw = {"at": datetime(2026, 1, 5, tzinfo=timezone(timedelta(hours=2))), "age": timedelta(minutes=5)}
    source = 'timestamp(diagnose.raw.at).getHours() == 22 && duration(diagnose.raw.age) == duration("5m")'

    assert SCOPE.condition(source).evaluate({"diagnose.raw": raw}) is True


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("alert.status", 5, "Unexpected value type for 'alert.status'"),
        ("alert.starts_at", datetime(2026, 1, 5), "NaiveDatetime"),
        ("diagnose.pods.names", [1], r"Unexpected value type for 'diagnose.pods.names\[0\]'"),
        ("diagnose.raw", object(), "Non-CEL value type"),
        ("diagnose.raw", 2**70, "out of range"),
        ("diagnose.pods.ready", 1, "Unexpected value type"),
        ("diagnose.rollout.age", timedelta.max, "maximum allowed duration"),
    ],
)
def test_a_value_of_another_type_is_an_error(name: str, value: object, says: str) -> None:
    with pytest.raises(EvaluationError, match=says):
        SCOPE.compile(name).evaluate({name: value})


def test_a_value_nested_without_end_is_an_error() -> None:
    endless: list[object] = []
    endless.append(endless)

    with pytest.raises(EvaluationError, match="TooDeep"):
        SCOPE.compile("diagnose.raw").evaluate({"diagnose.raw": endless})


@pytest.mark.parametrize("name", ["my-pods.x", "diagnose.in.x", "", "a..b", "1a", "é", "a.has"])
def test_a_name_that_cannot_be_written_is_refused(name: str) -> None:
    with pytest.raises(BadName):
        Scope({name: CelType.INT})


def test_a_scope_can_be_extended() -> None:
    larger = SCOPE.extend({"diagnose.logs.lines": CelType.INT})

    assert larger.compile("diagnose.logs.lines + 1").evaluate({"diagnose.logs.lines": 1}) == 2
    with pytest.raises(ExpressionError):
        SCOPE.compile("diagnose.logs.lines")


class Asked(dict[str, object]):
    """Values that know which of them were asked for."""

    def __init__(self, values: Mapping[str, object]) -> None:
        super().__init__(values)
        self.names: set[str] = set()

    def get(self, name: str, default: object = None) -> object:
        self.names.add(name)
        return super().get(name, default)


def test_an_expression_is_given_only_what_it_looks_at() -> None:
    values = Asked(VALUES)

    SCOPE.compile('alert.labels.team == "db" && diagnose.pods.ready').evaluate(values)

    assert values.names == {"alert.labels", "diagnose.pods.ready"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1", "int"),
        ("1u", "int"),
        ("[1]", "list(int)"),
        ("[]", "list(dyn)"),
        ("[[1.5]]", "list(list(double))"),
        ("alert.labels", "map(string, string)"),
        ("{'a': [true]}", "map(string, list(bool))"),
        ("{1: 2}", "dyn"),
        ("now", "timestamp"),
        ("now - now", "duration"),
        ("diagnose.raw.x", "dyn"),
        ("null", "dyn"),
    ],
)
def test_the_result_type_is_known_at_load(source: str, expected: str) -> None:
    assert str(SCOPE.compile(source).result_type) == expected


PodName = NewType("PodName", str)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (str, "string"),
        (int, "int"),
        (float, "double"),
        (bool, "bool"),
        (datetime, "timestamp"),
        (timedelta, "duration"),
        (list[str], "list(string)"),
        (list[int], "list(int)"),
        (tuple[str, ...], "list(string)"),
        (frozenset[int], "list(int)"),
        (dict[str, str], "map(string, string)"),
        (Mapping[str, float], "map(string, double)"),
        (int | None, "int"),
        (list[str] | None, "list(string)"),
        (PodName, "string"),
        (Mode, "string"),
        (Annotated[timedelta, "doc"], "duration"),
        (Literal["a", "b"], "string"),
        (int | str, "dyn"),
        (dict[int, str], "dyn"),
        (list, "dyn"),
        (Any, "dyn"),
        (object, "dyn"),
        (list[dict[str, Any]], "list(map(string, dyn))"),
    ],
    ids=str,
)
def test_field_annotations_become_types(annotation: object, expected: str) -> None:
    assert str(python_type_to_cel(annotation)) == expected


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00")))
def test_text_passes_through_unchanged(text: str) -> None:
    assert SCOPE.compile("alert.status").evaluate({"alert.status": text}) == text


@given(st.text(st.sampled_from("alert.stu(){}[]\"'&|?:!=<>+-/ \n0123é\ud800\x00\\"), max_size=30), json_like)
def test_any_source_and_value_end_in_an_answer_or_our_error(source: str, value: object) -> None:
    try:
        expression = SCOPE.compile(source)
        expression.evaluate({"alert.status": value, "diagnose.raw": value})
    except (BadDocument, EvaluationError):
        return


@given(json_like)
def test_untyped_values_never_break_out(value: object) -> None:
    try:
        SCOPE.compile("diagnose.raw == null || size(diagnose.raw) > 0").evaluate({"diagnose.raw": value})
    except EvaluationError:
        return


def test_a_text_that_is_in_use_is_not_compiled_again() -> None:
    scope = Scope({"alert.labels": CelType.map_of(CelType.STRING)})

    assert scope.compile("alert.labels.pod") is scope.compile("alert.labels.pod")
    assert scope.extend({"a.b": CelType.INT}) is scope.extend({"a.b": CelType.INT})
    assert scope.extend({"a.b": CelType.INT}).compile("1 + 1") is not scope.compile("1 + 1")


def test_what_nobody_uses_any_more_is_forgotten() -> None:
    scope = Scope({})
    kept, dropped = scope.compile("1 + 1"), scope.compile("2 + 2")
    seen = ref(dropped)
    del dropped

    assert seen() is None
    assert scope.compile("1 + 1") is kept


keys = st.sampled_from(["pod", "app", "pod\0", ""])
texts = st.text(st.characters() | st.sampled_from(["\0", "\ud800"]), max_size=4)


@given(st.dictionaries(keys, texts), st.sampled_from(["alert.labels.pod", " alert.labels.app\n", "alert.labels.name"]))
def test_an_entry_that_is_looked_up_directly_reads_as_cel_reads_it(labels: dict[str, str], source: str) -> None:
    scope = Scope({"alert.labels": CelType.map_of(CelType.STRING), "alert.labels.name": CelType.STRING})
    values = {"alert.labels": labels, "alert.labels.name": "whole"}

    def answer(text: str) -> object:
        try:
            return scope.compile(text).evaluate(values)
        except EvaluationError as error:
            return error.reason

    assert answer(source) == answer(f"({source})")
