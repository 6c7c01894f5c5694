"""Label selectors, field selectors, and the selector objects inside workloads and budgets."""

import re
from collections.abc import Mapping
from typing import Any

from .refusals import bad_request
from .resources import Object, Resource

_TERM = re.compile(r"[^,(]*(?:\([^)]*\))?")
_SET = re.compile(r"^(?P<key>\S+)\s+(?P<operator>in|notin)\s*\((?P<values>[^)]*)\)$")
_EQUALITY = re.compile(r"^(?P<key>[^=!\s]+)\s*(?P<operator>==|=|!=)\s*(?P<value>[^=!\s]*)$")
_PRESENCE = re.compile(r"^(?P<absent>!?)\s*(?P<key>[\w./-]+)$")


def matches_labels(selector: str, labels: Mapping[str, str]) -> bool:
    terms = [term.strip() for term in _TERM.findall(selector)]
    return all(_term_holds(term, labels) for term in terms if term)


def _term_holds(term: str, labels: Mapping[str, str]) -> bool:
    if found := _SET.match(term):
        values = {value.strip() for value in found["values"].split(",")}
        return (labels.get(found["key"]) in values) == (found["operator"] == "in")
    if found := _EQUALITY.match(term):
        return (labels.get(found["key"]) == found["value"]) == (found["operator"] != "!=")
    if found := _PRESENCE.match(term):
        return (found["key"] in labels) != bool(found["absent"])
    raise bad_request(f"unable to parse requirement: {term}")


def matches_fields(resource: Resource, selector: str, obj: Object) -> bool:
    for term in filter(None, selector.split(",")):
        found = _EQUALITY.match(term)
        if found is None:
            raise bad_request(f"invalid selector: '{term}'; can't understand '{term}'")
        if found["key"] not in resource.field_labels | {"metadata.name", "metadata.namespace"}:
            raise bad_request(f"field label not supported: {found['key']}")
        if (_field(obj, found["key"]) == found["value"]) != (found["operator"] != "!="):
            return False
    return True


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
