"""`use: <plug-in>` made into a step: the plug-in exists, its parameters fit, whatever values come at night."""

from collections.abc import Mapping
from functools import cache
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from remediator.catalogue import Plugin, plugins_of
from remediator.domain.ids import StepPath
from remediator.language.cel_type import CelKind
from remediator.language.document import Path
from remediator.language.expression import CelType, ExpressionError, Scope, python_type_to_cel
from remediator.language.suggestion import did_you_mean
from remediator.language.template import ListValue, MappingValue, Template, Value, compile_value
from remediator.language.text_kind import TextKind, with_values_kept_apart
from remediator.language.validation import explain_detail
from remediator.rules.complaints import Complaints
from remediator.rules.rule import CannotBuild, Step

P = TypeVar("P", bound=Plugin)

NO_VALUES = Scope({})
"""For what is built at load: guards and channels know no incident."""


def find_plugin(base: type[P], written: Mapping[str, object], path: Path, complaints: Complaints) -> type[P] | None:
    use = written.get("use")
    if use is None:
        complaints.about(path, "'use' is missing", hint=f"it names the {base.__name__.lower()}")
        return None
    known = plugins_of(base)
    if not isinstance(use, str) or use not in known:
        names = ", ".join(sorted(known)) or "none"
        hint = did_you_mean(str(use), known) or f"known: {names}"
        complaints.about((*path, "use"), f"there is no {base.__name__.lower()} {use!r}", hint=hint)
        return None
    return known[use]


def compile_step(
    plugin: type[P],
    written: Mapping[str, object],
    path: Path,
    *,
    scope: Scope,
    complaints: Complaints,
) -> Step[P] | None:
    """None where something is wrong, which is told."""
    parameters = {name: value for name, value in written.items() if name != "use"}
    try:
        value = compile_value(parameters, scope)
    except ExpressionError as error:
        complaints.about_expression(path, error)
        return None
    before = len(complaints.problems)
    _check_values(plugin, parameters, value, path=path, complaints=complaints)
    _check_types(plugin, value, path, complaints)
    value = _with_values_kept_apart(plugin, value, path, complaints)
    return Step(step_path(path), plugin, value) if len(complaints.problems) == before else None


def build_now(base: type[P], written: Mapping[str, object], path: Path, complaints: Complaints) -> P | None:
    """The plug-in itself, for the families that wait for no values."""
    plugin = find_plugin(base, written, path, complaints)
    if plugin is None:
        return None
    step = compile_step(plugin, written, path, scope=NO_VALUES, complaints=complaints)
    if step is None:
        return None
    try:
        return step.build({})
    except CannotBuild as error:  # an expression that fits by its type, and has no value, or none that is allowed
        complaints.about(path, str(error).removeprefix(f"{step.path}: "))
        return None


def step_path(path: Path) -> StepPath:
    """`fix[0]`, `verify.checks[1]`, `diagnose.pods`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return StepPath(text.removeprefix("."))


def _check_values(
    plugin: type[Plugin], parameters: Mapping[str, object], value: Value, *, path: Path, complaints: Complaints
) -> None:
    try:
        plugin.model_validate(parameters)
    except ValidationError as error:
        complaints.problems.extend(
            explain_detail(detail, complaints.document, at=path, model=plugin)
            for detail in error.errors(include_url=False)
            if not _waits_for_values(detail, value)
        )


def _waits_for_values(detail: ErrorDetails, value: Value) -> bool:
    """Whether it is about what a template will only give later."""
    if detail["type"] in {"extra_forbidden", "missing"}:
        return False
    for part in detail["loc"]:
        if isinstance(value, MappingValue) and part in value.entries:
            value = value.entries[str(part)]
        elif isinstance(value, ListValue) and isinstance(part, int) and part < len(value.items):
            value = value.items[part]
        else:
            break
    return not value.is_constant


def _check_types(plugin: type[Plugin], value: Value, path: Path, complaints: Complaints) -> None:
    entries = value.entries if isinstance(value, MappingValue) else {}
    for key, wanted in _wanted_types(plugin):
        entry = entries.get(key)
        if isinstance(entry, Template) and not entry.is_constant and not _fits(entry.type, wanted):
            complaints.about((*path, key), f"{key} wants {wanted}, this gives {entry.type}")


def _with_values_kept_apart(plugin: type[Plugin], value: Value, path: Path, complaints: Complaints) -> Value:
    """Where a parameter is a text with a grammar, what an alert says stays a value in it."""
    entries = dict(value.entries) if isinstance(value, MappingValue) else {}
    for key, kind in _text_kinds(plugin):
        entry = entries.get(key)
        if isinstance(entry, Template) and not entry.is_constant:
            try:
                entries[key] = with_values_kept_apart(entry, kind)
            except ExpressionError as error:
                complaints.about_expression((*path, key), error)
    return MappingValue(entries)


@cache
def _text_kinds(plugin: type[Plugin]) -> tuple[tuple[str, TextKind], ...]:
    return tuple(
        (field.alias or name, kind)
        for name, field in plugin.model_fields.items()
        for kind in field.metadata
        if isinstance(kind, TextKind)
    )


@cache
def _wanted_types(plugin: type[Plugin]) -> tuple[tuple[str, CelType], ...]:
    return tuple(
        (field.alias or name, python_type_to_cel(field.annotation)) for name, field in plugin.model_fields.items()
    )


def _fits(given: CelType, wanted: CelType) -> bool:
    if CelKind.DYN in {given.kind, wanted.kind} or given == wanted:
        return True
    if given.kind is CelKind.LIST and wanted.kind is CelKind.LIST:
        return _fits(given.item or CelType.DYN, wanted.item or CelType.DYN)
    return (given.kind, wanted.kind) in {
        (CelKind.INT, CelKind.DOUBLE),
        (CelKind.STRING, CelKind.DURATION),  # the text is read as one when the step is built
        (CelKind.MAP, CelKind.MAP),
    }
