"""The conventions of every plug-in family: what holds for one holds for all."""

import ast
import dataclasses
import inspect
import itertools
import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from remediator.actions import Action
from remediator.catalogue import Plugin, plugins_of
from remediator.checks import Check
from remediator.cli import main
from remediator.diagnostics import Diagnostic
from remediator.domain.target import TARGET_KINDS
from remediator.guards import Guard
from remediator.language.expression import Scope
from remediator.language.strict_yaml import load
from remediator.language.text_kind import TextKind
from remediator.notifiers import Notifier
from remediator.rules.values import FINDING_NAMES, finding_names
from remediator.sources import Source

ROOT = Path(__file__).parents[1]
FAMILIES: tuple[type[Plugin], ...] = (Action, Check, Diagnostic, Guard, Notifier)
PLUGINS = [
    pytest.param(plugin, id=f"{family.__name__.lower()}-{name}")
    for family in FAMILIES
    for name, plugin in plugins_of(family).items()
]
WITH_VALUES = [
    pytest.param(plugin, id=f"{family.__name__.lower()}-{name}")
    for family in (Action, Check, Diagnostic)
    for name, plugin in plugins_of(family).items()
]
"""The families that are built when an alert is there."""
DIAGNOSTICS = [pytest.param(name, plugin, id=name) for name, plugin in plugins_of(Diagnostic).items()]
SAY_IT_ALL = frozenset(
    {"url", "query", "status", "contains", "below", "above", "command", "to", "at_least", "at_most", "timeout"}
    | {"channel", "token", "secret", "within"}
)
"""Names that need no words beside them."""


@pytest.mark.parametrize("family", [*FAMILIES, Source], ids=lambda family: family.__name__.lower())
def test_a_family_holds_one_class_a_file_under_the_file_s_name(family: type) -> None:
    for name, plugin in plugins_of(family).items():
        assert plugin.__module__ == f"{family.__module__}.{name}"
        assert not inspect.isabstract(plugin)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plug_in_is_frozen_strict_and_named_after_its_file(plugin: type[Plugin]) -> None:
    assert plugin.model_config.get("frozen") is True
    assert plugin.model_config.get("extra") == "forbid"
    assert plugin.__name__.lower() == plugin.yaml_name().replace("_", "")


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plug_in_s_docstring_is_a_sentence_for_people(plugin: type[Plugin]) -> None:
    assert plugin.__doc__ is not None
    assert len(plugin.__doc__.split()) >= 4


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_parameter_is_documented_unless_its_name_says_it_all(plugin: type[Plugin]) -> None:
    bare = {
        name
        for name, field in plugin.model_fields.items()
        if not field.description and name not in _documented(plugin) | SAY_IT_ALL
    }

    assert bare == set()


@pytest.mark.parametrize("plugin", WITH_VALUES)
def test_a_text_that_an_alert_may_be_written_into_says_what_kind_it_is(plugin: type[Plugin]) -> None:
    """Else a label would be spliced into whatever reads it. A connection is looked up by its name, and that is all."""
    unsaid = {
        name
        for name, field in plugin.model_fields.items()
        if field.annotation in (str, str | None) and not any(isinstance(each, TextKind) for each in field.metadata)
    }

    assert unsaid <= {"connection"}


@pytest.mark.parametrize("plugin", WITH_VALUES)
def test_a_step_works_on_kinds_of_target_that_there_are(plugin: type[Action | Check | Diagnostic]) -> None:
    assert plugin.target_kinds
    assert set(plugin.target_kinds) <= set(TARGET_KINDS)


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plug_in_can_be_shown_to_an_editor(plugin: type[Plugin]) -> None:
    assert plugin.model_json_schema()["type"] == "object"


@pytest.mark.parametrize(("name", "diagnostic"), DIAGNOSTICS)
def test_a_diagnostic_s_facts_can_be_named_in_expressions(name: str, diagnostic: type[Diagnostic]) -> None:
    facts = {field.name for field in dataclasses.fields(diagnostic.Facts)}

    assert not facts & FINDING_NAMES.keys()
    assert Scope(finding_names(name, diagnostic)).variables


def test_the_committed_schema_is_current() -> None:
    result = CliRunner().invoke(main, ["schema", "--check", str(ROOT / "remediator.schema.json")])

    assert result.exit_code == 0, result.output


def test_a_schema_that_is_not_current_is_told(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text("{}")

    result = CliRunner().invoke(main, ["schema", "--check", str(old)])

    assert result.exit_code == 1
    assert "is not current" in result.output


def test_every_reference_in_the_schema_leads_somewhere() -> None:
    text = (ROOT / "remediator.schema.json").read_text()
    schema = json.loads(text)

    assert _references(schema) <= {f"#/$defs/{name}" for name in schema["$defs"]}


@pytest.mark.parametrize("path", sorted((ROOT / "rules").rglob("*.yaml")), ids=lambda path: path.name)
def test_editors_find_no_fault_with_the_shipped_files(path: Path) -> None:
    schema = json.loads((ROOT / "remediator.schema.json").read_text())

    for document in load(path.read_text(), str(path)):
        jsonschema.validate(document.data, schema)


def test_editors_find_a_misspelt_parameter() -> None:
    schema = json.loads((ROOT / "remediator.schema.json").read_text())

    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"guards": [{"use": "cooldown", "fro": "15m"}]}, schema)


def _documented(plugin: type[Plugin]) -> set[str]:
    """Fields with a text under them."""
    module = inspect.getmodule(plugin)
    assert module is not None
    classes = [node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef)]
    body = next(node.body for node in classes if node.name == plugin.__name__)
    return {
        field.target.id
        for field, after in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }


def _references(part: object) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*map(_references, part.values()))
    return set().union(*map(_references, part)) if isinstance(part, list) else set()
