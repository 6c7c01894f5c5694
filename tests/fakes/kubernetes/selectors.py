"""Label selectors, field selectors, and the selector objects inside workloads and budgets."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from .refusals import bad_request
from .resources import Object, Resource

_TERM = re.compile(r"[^,(]*(?:\([^)]*\))?")
_SET = re.compile(r"^(?P<key>\S+)\s+(?P<operator>in|notin)\s*\((?P<values>[^)]*)\)$")
_EQUALITY = re.compile(r"^(?P<key>[^=!\s]+)\s*(?P<operator>==|=|!=)\s*(?P<value>[^=!\s]*)$")
_PRESENCE = re.compile(r"^(?P<absent>!?)\s*(?P<key>[\w./-]+)$")


def label_matcher(selector: str) -> Callable[[Mapping[str, str]], bool]:
    """Refuses a broken selector even where there is nothing to select from."""
    terms = [_label_term(term.strip()) for term in _TERM.findall(selector) if term.strip()]
    return lambda labels: all(holds(labels) for holds in terms)


def _label_term(term: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET.match(term):
        key, values = found["key"], {value.strip() for value in found["values"].split(",")}
        is_in = found["operator"] == "in"
        return lambda labels: (labels.get(key) in values) == is_in
    if found := _EQUALITY.match(term):
        key, wanted, is_equal = found["key"], found["value"], found["operator"] != "!="
        return lambda labels: (labels.get(key) == wanted) == is_equal
    if found := _PRESENCE.match(term):
        key, is_absent = found["key"], bool(found["absent"])
        return lambda labels: (key in labels) != is_absent
    raise bad_request(f"unable to parse requirement: {term}")


def field_matcher(resource: Resource, selector: str) -> Callable[[Object], bool]:
    terms = [_field_term(resource, term) for term in selector.split(",") if term]
    return lambda obj: all(holds(obj) for holds in terms)


def _field_term(resource: Resource, term: str) -> Callable[[Object], bool]:
    found = _EQUALITY.match(term)
    if found is None:
        raise bad_request(f"invalid selector: '{term}'; can't understand '{term}'")
    path, wanted, is_equal = found["key"], found["value"], found["operator"] != "!="
    if path not in resource.field_labels | {"metadata.name", "metadata.namespace"}:
        raise bad_request(_unknown_field(resource, path))
    return lambda obj: (_field(obj, path) == wanted) == is_equal


def _unknown_field(resource: Resource, path: str) -> str:
    """Kinds with fields of their own say it in other words."""
    if resource.field_labels:
        return f"field label not supported: {path}"
    return f'"{path}" is not a known field selector: only "metadata.name", "metadata.namespace"'


def _field(obj: Object, path: str) -> str:
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if path == "spec.unschedulable" or isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def selects(selector: Object | None, labels: Mapping[str, str]) -> bool:
    """A LabelSelector object; none selects nothing, an empty one everything."""
    if selector is None:
        return False
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(_expression_holds(expression, labels) for expression in selector.get("matchExpressions") or ())


def _expression_holds(expression: Object, labels: Mapping[str, str]) -> bool:
    found = labels.get(expression["key"])
    match expression["operator"]:
        case "In":
            return found in expression["values"]
        case "NotIn":
            return found not in expression["values"]
        case "Exists":
            return found is not None
        case _:
            return found is None


def as_text(selector: Object) -> str:
    """As the scale subresource spells it."""
    return ",".join(f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items()))
