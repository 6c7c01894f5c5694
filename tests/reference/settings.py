"""Every setting, as a page: from the fields, their bounds, and the docstrings under them."""

import ast
import inspect
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import annotated_types
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from remediator.settings import PREFIX, SECRETS_FOLDER, Settings
from tests.reference.table import table

_TEXT = f"""# Settings

Written by `make docs` from `remediator/settings.py`.

A setting is looked for in the environment, then among mounted secret files (a file a setting, a folder a section, as in
`{SECRETS_FOLDER}/webhooks/tokens`), then in the settings file, a YAML mapping that `--config FILE` or
`REMEDIATOR_CONFIG` names; else it has its default. Flags of `remediator serve` win over all of them. In the environment
a list or a mapping is written as JSON, and `<NAME>` stands for a name of your own.

Settings are read at the start. Rules are read anew when their files change, and on SIGHUP.

{{table}}"""
_PLAIN = {
    str: "text",
    int: "a number",
    float: "a number",
    bool: "`true`, `false`",
    Path: "a path",
    SecretStr: "a secret",
}


def settings_page() -> str:
    return _TEXT.format(table=table(("Setting", "Variable", "Takes", "Default", "What it is"), list(_rows(Settings))))


def docstrings(model: type[BaseModel]) -> dict[str, str]:
    """Field -> the text under it."""
    [definition] = ast.parse(inspect.getsource(model)).body
    assert isinstance(definition, ast.ClassDef)
    pairs = zip(definition.body, definition.body[1:], strict=False)
    return {
        field.target.id: " ".join(str(text.value.value).split())
        for field, text in pairs
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }


def sections(model: type[BaseModel] = Settings) -> Iterator[type[BaseModel]]:
    """Itself, and all in it."""
    yield model
    for field in model.model_fields.values():
        inner, _ = _section(field.annotation)
        if inner is not None:
            yield from sections(inner)


def _rows(model: type[BaseModel], path: str = "", variable: str = PREFIX) -> Iterator[Sequence[str]]:
    told = docstrings(model)
    for name, field in model.model_fields.items():
        inner, is_of_each = _section(field.annotation)
        if inner is None or is_of_each or (not field.is_required() and field.default is None):
            names = f"`{path}{name}`", f"`{variable}{name.upper()}`"
            yield *names, _takes(field), _default(field), told.get(name, "")
        if inner is not None:
            key, part = ("<name>.", "<NAME>__") if is_of_each else ("", "")
            yield from _rows(inner, f"{path}{name}.{key}", f"{variable}{name.upper()}__{part}")


def _section(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The section that it is, or that each value of the mapping is."""
    if typing.get_origin(annotation) is dict:
        return _section(typing.get_args(annotation)[1])[0], True
    candidates = [one for one in _alternatives(annotation) if isinstance(one, type) and issubclass(one, BaseModel)]
    return (candidates[0] if candidates else None), False


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if is_union else (annotation,)


def _takes(field: FieldInfo) -> str:
    words = [_in_words(one, field.metadata) for one in _alternatives(field.annotation) if one is not types.NoneType]
    return " or ".join(words)


def _in_words(annotation: Any, metadata: Sequence[Any]) -> str:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _in_words(inner[0], inner[1].metadata)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in inner)
    if origin is dict:
        return f"a mapping: name to {_in_words(inner[1], ())}"
    if origin in (list, set, tuple):
        return f"a list: {_in_words(inner[0], ())}"
    if issubclass(annotation, BaseModel):
        return "a section"
    return _PLAIN[annotation] + _bounds(metadata)


def _bounds(metadata: Sequence[Any]) -> str:
    words = {annotated_types.Ge: ("ge", "from"), annotated_types.Gt: ("gt", "above"), annotated_types.Le: ("le", "to")}
    told = [f"{words[type(one)][1]} {getattr(one, words[type(one)][0])}" for one in metadata if type(one) in words]
    return f" {' '.join(told)}" if told else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    match field.default:
        case None | "" | () | {}:
            return "none"
        case bool(switch):
            return f"`{str(switch).lower()}`"
        case set(several):
            return ", ".join(f"`{one}`" for one in sorted(several))
        case one:
            return f"`{one}`"
