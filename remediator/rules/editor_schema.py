"""JSON Schema for editors: every document people write and every plug-in's parameters, checked while typing."""

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from remediator.actions import Action
from remediator.catalogue import Plugin, plugins_of
from remediator.checks import Check
from remediator.diagnostics import Diagnostic
from remediator.guards import Guard
from remediator.notifiers import Notifier
from remediator.rules.schema import DOCUMENTS, FixKeys

JsonSchema = dict[str, Any]

_FAMILIES: Mapping[str, tuple[type[Plugin], type[BaseModel] | None]] = {
    "diagnostic": (Diagnostic, None),
    "fix": (Action, FixKeys),
    "check": (Check, None),
    "guard": (Guard, None),
    "notifier": (Notifier, None),
}
_STEPS: Mapping[tuple[str, ...], str] = {
    ("RuleDocument", "diagnose", "additionalProperties"): "diagnostic",
    ("RuleDocument", "fix", "items"): "fix",
    ("RuleDocument", "guard", "items"): "guard",
    ("VerifyPart", "checks", "items"): "check",
    ("GuardsDocument", "guards", "items"): "guard",
    ("ChannelsDocument", "channels", "additionalProperties"): "notifier",
}
"""Where steps stand in the documents, and of which family."""


def editor_schema() -> JsonSchema:
    """The same text for the same release: it is committed, and compared."""
    _, combined = models_json_schema([(model, "validation") for model in DOCUMENTS.values()], by_alias=True)
    definitions: JsonSchema = combined["$defs"]
    for (document, field, slot), family in _STEPS.items():
        definitions[document]["properties"][field][slot] = {"$ref": f"#/$defs/{family}"}
    for family, (base, beside) in _FAMILIES.items():
        definitions[family] = _family(base, beside, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Remediator's rules",
        "type": "object",
        "oneOf": [_document(key, model) for key, model in DOCUMENTS.items()],
        "$defs": dict(sorted(definitions.items())),
    }


def _document(key: str, model: type[BaseModel]) -> JsonSchema:
    return {"$ref": f"#/$defs/{model.__name__}", "required": [key]}


def _family(base: type[Plugin], beside: type[BaseModel] | None, definitions: JsonSchema) -> JsonSchema:
    """`use` decides which parameters are known; one branch a plug-in, so that an editor complains of that one only."""
    plugins = plugins_of(base)
    extra = beside.model_json_schema()["properties"] if beside is not None else {}
    if beside is not None:
        definitions |= beside.model_json_schema().get("$defs", {})
    return {
        "type": "object",
        "required": ["use"],
        "properties": {"use": {"enum": sorted(plugins)}},
        "allOf": [_branch(name, plugin, extra, definitions) for name, plugin in sorted(plugins.items())],
    }


def _branch(name: str, plugin: type[Plugin], extra: JsonSchema, definitions: JsonSchema) -> JsonSchema:
    schema = plugin.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
    definitions |= schema.pop("$defs", {})
    properties = {key: _or_template(value) for key, value in schema.get("properties", {}).items()}
    then: JsonSchema = {
        "description": schema.get("description", ""),
        "properties": {"use": {"const": name, "description": schema.get("description", "")}, **extra, **properties},
        "additionalProperties": False,
    }
    if required := schema.get("required"):
        then["required"] = required
    return {"if": {"properties": {"use": {"const": name}}, "required": ["use"]}, "then": then}


def _or_template(value: JsonSchema) -> JsonSchema:
    """Any parameter may wait for values instead: `${{ expression }}`."""
    about: JsonSchema = {key: value[key] for key in ("title", "description", "default") if key in value}
    bare = {key: each for key, each in value.items() if key not in about}
    return {**about, "anyOf": [*_alternatives(bare), {"type": "string", "pattern": r"\$\{\{"}]}


def _alternatives(schema: JsonSchema) -> Iterable[JsonSchema]:
    return schema["anyOf"] if set(schema) == {"anyOf"} else [schema]
