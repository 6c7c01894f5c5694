"""The ways a PATCH can change an object: JSON patch, merge patch, and strategic merge with the merge keys we meet."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from .refusals import Refused, bad_request, patch_does_not_apply, unknown_patch_type
from .resources import Object

_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "ephemeralContainers": "name",
    "volumes": "name",
    "env": "name",
    "imagePullSecrets": "name",
    "volumeMounts": "mountPath",
    "hostAliases": "ip",
    "ownerReferences": "uid",
    "conditions": "type",
    "addresses": "type",
    "taints": "key",
}
"""`ports` is missing on purpose: its key depends on whose ports they are."""


def apply_patch(content_type: str, obj: Object, patch: Any) -> Object:
    """A changed copy; `obj` stays as it was."""
    match content_type:
        case "application/json-patch+json":
            return _json_patch(obj, patch)
        case "application/merge-patch+json":
            return _patched(merge, obj, patch)
        case "application/strategic-merge-patch+json" | "application/apply-patch+yaml":
            return _patched(strategic_merge, obj, patch)
        case _:
            raise unknown_patch_type()


def _patched(merger: Callable[[Object, Object], Object], obj: Object, patch: Any) -> Object:
    if not isinstance(patch, dict):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        )
    return merger(obj, patch)


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return deepcopy(patch)
    merged = dict(deepcopy(target)) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def strategic_merge(target: Any, patch: Object) -> Object:
    if patch.get("$patch") == "replace":
        return {key: deepcopy(value) for key, value in patch.items() if key != "$patch"}
    merged: Object = dict(deepcopy(target)) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            merged[name] = [item for item in merged.get(name, []) if item not in value]
        elif key == "$retainKeys":
            merged = {name: kept for name, kept in merged.items() if name in value}
        elif key.startswith("$"):
            continue
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = _strategic_value(key, merged.get(key), value)
    return merged


def _strategic_value(key: str, old: Any, new: Any) -> Any:
    if isinstance(new, dict):
        return strategic_merge(old, new)
    if not isinstance(new, list) or not isinstance(old, list):
        return _without_directives(new)
    if key == "finalizers":
        return old + [item for item in new if item not in old]
    merge_key = _merge_key(key, new)
    return _merge_by(merge_key, old, new) if merge_key else deepcopy(new)


def _without_directives(new: Any) -> Any:
    if isinstance(new, list):
        return [deepcopy(item) for item in new if not (isinstance(item, dict) and item.get("$patch") == "delete")]
    return deepcopy(new)


def _merge_key(key: str, items: list[Any]) -> str | None:
    if key == "ports":
        return "containerPort" if any("containerPort" in item for item in items) else "port"
    return _MERGE_KEYS.get(key)


def _merge_by(merge_key: str, old: list[Any], new: list[Any]) -> list[Any]:
    if any(item.get("$patch") == "replace" for item in new):
        return [deepcopy(item) for item in new if "$patch" not in item]
    merged = {item.get(merge_key): item for item in deepcopy(old)}
    for item in new:
        if merge_key not in item:
            raise Refused(500, f"map: {item} does not contain declared merge key: {merge_key}", reason="InternalError")
        if item.get("$patch") == "delete":
            merged.pop(item[merge_key], None)
        else:
            merged[item[merge_key]] = strategic_merge(merged.get(item[merge_key]), item)
    return list(merged.values())


def _json_patch(obj: Object, operations: Any) -> Object:
    if not isinstance(operations, list):
        raise bad_request("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    document: Any = deepcopy(obj)
    for operation in operations:
        try:
            document = _apply_operation(document, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise patch_does_not_apply() from error
    return document  # type: ignore[no-any-return]


def _apply_operation(document: Any, operation: Object) -> Any:
    path = _pointer(operation["path"])
    match operation["op"]:
        case "test":
            if _read(document, path) != operation["value"]:
                raise ValueError("test failed")
            return document
        case "add":
            return _put(document, path, operation["value"], is_new=True)
        case "replace":
            _read(document, path)
            return _put(document, path, operation["value"], is_new=False)
        case "remove":
            _take(document, path)
            return document
        case "copy":
            return _put(document, path, _read(document, _pointer(operation["from"])), is_new=True)
        case "move":
            return _put(document, path, _take(document, _pointer(operation["from"])), is_new=True)
        case unknown:
            raise ValueError(unknown)


def _pointer(path: str) -> list[str]:
    if path and not path.startswith("/"):
        raise ValueError(path)
    return [part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:]]


def _read(document: Any, path: list[str]) -> Any:
    for part in path:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def _put(document: Any, path: list[str], value: Any, *, is_new: bool) -> Any:
    if not path:
        return deepcopy(value)
    parent, last = _read(document, path[:-1]), path[-1]
    if not isinstance(parent, list):
        parent[last] = deepcopy(value)
    elif last == "-":
        parent.append(deepcopy(value))
    elif not is_new:
        parent[int(last)] = deepcopy(value)
    elif int(last) > len(parent):
        raise IndexError(last)
    else:
        parent.insert(int(last), deepcopy(value))
    return document


def _take(document: Any, path: list[str]) -> Any:
    parent, last = _read(document, path[:-1]), path[-1]
    return parent.pop(int(last)) if isinstance(parent, list) else parent.pop(last)
