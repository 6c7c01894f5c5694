"""What is written is what is read, and what could be read in two ways is refused with its place."""

import json
from contextlib import suppress
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from remediator.language.plain_yaml import NotPlain, load_plain
from remediator.language.strict_yaml import BadYaml, Document, Problem, Severity, explain_validation_error, load


def only(text: str) -> Document:
    (document,) = load(text, "rules/demo.yaml")
    return document


def refused(text: str) -> Problem:
    with pytest.raises(BadYaml) as caught:
        load(text, "rules/demo.yaml")
    return caught.value.problem


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("0", 0),
        ("-12", -12),
        ("0.05", 0.05),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("15m", "15m"),
        ("2026-01-05", "2026-01-05"),
        ("'yes'", "yes"),
        ('"010"', "010"),
        ("! 12", "12"),
        ("!!str 12", "12"),
        ("|\n  two\n  lines\n", "two\nlines\n"),
        ("${{ alert.labels.pod }}", "${{ alert.labels.pod }}"),
        ("'{alertname=\"Down\"}'", '{alertname="Down"}'),
        ("[1, b]", [1, "b"]),
        ("{ use: scale, by: 2 }", {"use": "scale", "by": 2}),
    ],
)
def test_a_value_is_read_as_yaml_1_2_reads_it(written: str, read: object) -> None:
    assert only(f"key: {written}\n").data == {"key": read}


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        pytest.param("a: 1\nb: 2\na: 3\n", 3, 1, "duplicate key 'a'", id="duplicate key"),
        pytest.param("a: { b: 1, b: 2 }\n", 1, 12, "duplicate key 'b'", id="duplicate key inside"),
        pytest.param("a: yes\n", 1, 4, "yes is ambiguous", id="yes"),
        pytest.param("a: Off\n", 1, 4, "Off is ambiguous", id="off"),
        pytest.param("on: 1\n", 1, 1, "on is ambiguous", id="on as a key"),
        pytest.param("a: 010\n", 1, 4, "010 is ambiguous", id="octal"),
        pytest.param("a: 0x1F\n", 1, 4, "0x1F is ambiguous", id="hexadecimal"),
        pytest.param("a: 1_000\n", 1, 4, "1_000 is ambiguous", id="underscores"),
        pytest.param("a: 09:30\n", 1, 4, "09:30 is ambiguous", id="base 60"),
        pytest.param("a: &x 1\n", 1, 4, "anchors and aliases are not allowed", id="anchor"),
        pytest.param("a: &x [1]\nb: *x\n", 1, 4, "anchors and aliases are not allowed", id="alias"),
        pytest.param("&x a: 1\n", 1, 1, "anchors and aliases are not allowed", id="anchored key"),
        pytest.param("<<: { a: 1 }\n", 1, 1, "merge keys are not allowed", id="merge key"),
        pytest.param("1: a\n", 1, 1, "a key must be text, this is 1", id="number as key"),
        pytest.param("{ a: 1 }: b\n", 1, 1, "a key must be text", id="mapping as key"),
        pytest.param("a: !!python/object/apply:os.system [ls]\n", 1, 4, "the tag", id="tag"),
        pytest.param("a:\n\tb: 1\n", 2, 1, "a tab cannot indent", id="tab"),
        pytest.param("a: 1\n b: 2\n", 2, 3, "mapping values are not allowed", id="syntax"),
        pytest.param("a: [1,\n", 2, 1, "did not find expected node content", id="never closed"),
        pytest.param("a: b\n\x07\n", 2, 1, "the character U+0007 is not allowed", id="control character"),
        pytest.param("a: \ud800\n", 1, 4, "the character U+D800 is not allowed", id="lone surrogate"),
        pytest.param("- a\n", 1, 1, "a document must be a mapping", id="list"),
        pytest.param("a: " + "[" * 50 + "]" * 50, 1, 44, "values nest deeper than 40", id="deep"),
        pytest.param("a: " + "x" * 1024 * 1024, 1, 1, "the file is larger than 1 MiB", id="large"),
    ],
)
def test_what_could_be_misread_is_refused_at_its_place(text: str, line: int, column: int, message: str) -> None:
    problem = refused(text)

    assert (problem.line, problem.column) == (line, column)
    assert problem.message.startswith(message)


def test_a_billion_laughs_are_refused_before_they_are_counted() -> None:
    bomb = "a: &a [x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
    )

    assert refused(bomb).line == 1


def test_many_documents_may_share_a_file_and_empty_ones_are_left_out() -> None:
    documents = load("rule: a\n---\n# nothing\n---\nrule: b\n", "rules.yaml")

    assert [document.data for document in documents] == [{"rule": "a"}, {"rule": "b"}]
    assert documents[1].locate(("rule",)).line == 5


def test_each_value_and_each_key_knows_its_place() -> None:
    document = only("fix:\n  - use: scale\n    when: 'a > 1'\n")

    assert (document.locate(("fix", 0, "when")).line, document.locate(("fix", 0, "when")).column) == (3, 11)
    assert document.locate(("fix", 0, "when"), key=True).column == 5
    assert document.locate(("fix", 0, "by")) == document.locate(("fix", 0))


@pytest.mark.parametrize(
    ("text", "column"), [("when: ab > 1", 10), ("when: 'ab > 1'", 11), ("when: >-\n  ab > 1\n", 7)]
)
def test_a_place_inside_a_text_counts_on_where_that_can_be_told(text: str, column: int) -> None:
    assert only(text).locate_within(("when",), 1, 4).column == column


def test_a_problem_is_drawn_with_a_caret_under_its_place() -> None:
    source = "rule: a\nfix:\n  - usr: scale\n"
    problem = only(source).problem(("fix", 0, "usr"), "unknown key 'usr'", hint="did you mean 'use'?", key=True)

    assert problem.render(source) == (
        "rules/demo.yaml:3:5: error: unknown key 'usr': did you mean 'use'?\n  3 |   - usr: scale\n    |     ^"
    )


def test_a_drawn_line_carries_no_escape_sequences_to_the_terminal() -> None:
    problem = Problem("a.yaml", 1, 1, "odd", severity=Severity.WARNING)

    assert problem.render("\x1b[31mred") == "a.yaml:1:1: warning: odd\n  1 |  [31mred\n    | ^"


class _Window(BaseModel):
    model_config = ConfigDict(extra="forbid")
    at_most: int = Field(ge=1)


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid")
    mode: Literal["observe", "act"] = "observe"
    summary: str = ""
    windows: list[_Window] = []


@pytest.mark.parametrize(
    ("text", "line", "column", "message", "hint"),
    [
        ("sumary: x\n", 1, 1, "unknown key 'sumary'", "did you mean 'summary'?"),
        ("zzz: x\n", 1, 1, "unknown key 'zzz'", "known: mode, summary, windows"),
        ("mode: atc\n", 1, 7, "'atc' is not 'observe' or 'act'", "did you mean 'act'?"),
        ("windows:\n  - { atmost: 1, at_most: 1 }\n", 2, 7, "unknown key 'atmost'", "did you mean 'at_most'?"),
        ("windows:\n  - {}\n", 2, 5, "'at_most' is missing", ""),
        ("windows:\n  - { at_most: 0 }\n", 2, 16, "0 should be greater than or equal to 1", ""),
    ],
)
def test_a_validation_error_is_told_in_words_at_its_place(
    text: str, line: int, column: int, message: str, hint: str
) -> None:
    document = only(text)
    with pytest.raises(ValidationError) as caught:
        _Rule.model_validate(document.data)

    (problem,) = explain_validation_error(caught.value, document, model=_Rule)

    assert (problem.line, problem.column, problem.message, problem.hint) == (line, column, message, hint)


def test_a_problem_in_a_part_is_placed_in_the_whole() -> None:
    document = only("a:\n  b: { at_most: x }\n")
    with pytest.raises(ValidationError) as caught:
        _Window.model_validate(document.data["a"]["b"])  # type: ignore[index]

    (problem,) = explain_validation_error(caught.value, document, at=("a", "b"))

    assert (problem.line, problem.column) == (2, 17)


_PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(alphabet="abc yesno01:#{}[]", max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abc", min_size=1), _PLAIN, min_size=1, max_size=4))
def test_json_is_read_back_as_it_was_written(data: dict[str, object]) -> None:
    assert only(json.dumps(data, ensure_ascii=False)).data == data


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_and_nothing_else(text: str) -> None:
    with suppress(BadYaml):
        load(text, "any.yaml")


structure = [
    "[",
    "]",
    "{ ",
    " }",
    ", ",
    "- ",
    "? ",
    ": ",
    "\n",
    "\n  ",
    "\t",
    "---\n",
    "...\n",
    "#c",
    "'",
    '"',
    "\\",
    ">-\n   t\n",
]
marks = ["&x ", "*x", "&& ", "! ", "!= ", "!!str ", "!x ", "!<!> ", "%TAG ! !\n", "%YAML 1.1\n", "<<: ", "\ufeff"]
plain = ["a: ", "b: ", "k", "yes", "010", "0x1F", "1", "1.5", "~", "null", "true", "é", "\x07"]
snippets = st.sampled_from([*structure, *marks, *plain])


@given(st.lists(snippets, max_size=12).map("".join))
def test_the_quick_reader_gives_what_the_careful_one_gives_or_declines(text: str) -> None:
    """A comment that looks like an anchor sends it to the careful one."""
    try:
        quick = load_plain(text)
    except NotPlain:
        return

    mark = "\ufeff" if text.startswith("\ufeff") else ""
    declined = f"{mark}# &declined\n{text.removeprefix(mark)}"
    with pytest.raises(NotPlain):
        load_plain(declined)
    careful = load(declined, "rules/demo.yaml")

    assert repr(quick) == repr([document.data for document in careful])


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[["])
def test_what_nests_a_hundred_thousand_levels_deep_is_refused_and_not_died_of(opening: str) -> None:
    with pytest.raises(BadYaml):
        load("a:\n  " + opening * 100_000, "rules/demo.yaml")


def test_a_place_in_a_file_of_many_documents_is_counted_from_its_beginning() -> None:
    documents = load("rule: a\n---\n---\nrule: b\nmatch: c\n", "rules/demo.yaml")

    assert [(d.locate(("rule",)).line, d.locate(("rule",)).column) for d in documents] == [(1, 7), (4, 7)]
