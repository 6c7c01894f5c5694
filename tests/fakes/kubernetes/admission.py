"""What happens to an object between wire and store: defaults, validation, and which half of it may change."""

from copy import deepcopy
from typing import Any

from . import refusals
from .refusals import Refused
from .resources import (
    BUDGETS,
    DAEMON_SETS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    STATEFUL_SETS,
    Object,
    Resource,
)

_POD_DEFAULTS: Object = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
    "securityContext": {},
}
_CONTAINER_DEFAULTS: Object = {
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
}
_SPEC_DEFAULTS: dict[Resource, Object] = {
    DEPLOYMENTS: {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
        "strategy": {"type": "RollingUpdate"},
    },
    REPLICA_SETS: {"replicas": 1},
    STATEFUL_SETS: {
        "replicas": 1,
        "revisionHistoryLimit": 10,
        "podManagementPolicy": "OrderedReady",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
    },
    DAEMON_SETS: {"revisionHistoryLimit": 10, "updateStrategy": {"type": "RollingUpdate"}},
}
_FIXED_SELECTOR = (DEPLOYMENTS, REPLICA_SETS, STATEFUL_SETS, DAEMON_SETS)
_MUTABLE_POD_FIELDS = ("activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations")


def prepare_create(resource: Resource, body: Object, namespace: str) -> Object:
    obj = {"apiVersion": resource.api_version, "kind": resource.kind, **deepcopy(body)}
    _check_kind(resource, obj)
    metadata = obj.setdefault("metadata", {})
    if resource.is_namespaced and metadata.setdefault("namespace", namespace) != namespace:
        raise refusals.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if not metadata.get("name"):
        raise invalid(resource, "", "metadata.name", "Required value: name or generateName is required", required=True)
    if metadata.get("resourceVersion"):
        raise Refused(500, "resourceVersion should not be set on objects to be created", reason="InternalError")
    if resource.has_status:
        obj["status"] = {}
    _set_defaults(resource, obj)
    _validate(resource, obj)
    return obj


def prepare_update(resource: Resource, body: Object, current: Object, *, subresource: str = "") -> Object:
    """Through the main door the status stays, through `/status` everything else does."""
    obj = {"apiVersion": resource.api_version, "kind": resource.kind, **deepcopy(body)}
    _check_kind(resource, obj)
    metadata = obj.setdefault("metadata", {})
    for field in ("name", "namespace"):
        found = current["metadata"].get(field)
        if found is not None and metadata.setdefault(field, found) != found:
            raise refusals.bad_request(
                f"the {field} of the object ({metadata[field]}) does not match the {field} on the URL ({found})"
            )
    if subresource == "status":
        version = {key: metadata[key] for key in ("resourceVersion", "uid") if metadata.get(key)}
        return {**current, "metadata": {**current["metadata"], **version}, "status": obj.get("status", {})}
    if resource.has_status:
        obj["status"] = current.get("status", {})
    _set_defaults(resource, obj)
    _validate(resource, obj)
    _check_immutable(resource, obj, current)
    return obj


def require_version(resource: Resource, body: Object) -> None:
    if resource.requires_version and not body.get("metadata", {}).get("resourceVersion"):
        name = body.get("metadata", {}).get("name", "")
        raise invalid(resource, name, "metadata.resourceVersion", "Invalid value: 0: must be specified for an update")


def invalid(resource: Resource, name: str, field: str, message: str, *, required: bool = False) -> Refused:
    cause = "FieldValueRequired" if required else "FieldValueInvalid"
    return refusals.invalid(resource.kind, name, field=field, cause=cause, message=message, group=resource.group)


def _check_kind(resource: Resource, obj: Object) -> None:
    if (obj["apiVersion"], obj["kind"]) != (resource.api_version, resource.kind):
        raise refusals.bad_request(
            f"{obj['kind']} in version {obj['apiVersion']!r} cannot be handled as a {resource.kind}"
        )


def _set_defaults(resource: Resource, obj: Object) -> None:
    if resource == NAMESPACES:
        obj["status"] = obj.get("status") or {"phase": "Active"}
        obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
        return
    if resource == PODS:
        _default_pod_spec(obj.setdefault("spec", {}))
    for key, value in _SPEC_DEFAULTS.get(resource, {}).items():
        obj.setdefault("spec", {}).setdefault(key, deepcopy(value))
    if resource in _FIXED_SELECTOR:
        _default_pod_spec(obj["spec"].setdefault("template", {}).setdefault("spec", {}))
    if resource == DEPLOYMENTS and obj["spec"]["strategy"].setdefault("type", "RollingUpdate") == "RollingUpdate":
        pace = obj["spec"]["strategy"].setdefault("rollingUpdate", {})
        pace.setdefault("maxUnavailable", "25%")
        pace.setdefault("maxSurge", "25%")


def _default_pod_spec(spec: Object) -> None:
    for key, value in _POD_DEFAULTS.items():
        spec.setdefault(key, deepcopy(value))
    for container in [*spec.get("containers", ()), *spec.get("initContainers", ())]:
        for key, value in _CONTAINER_DEFAULTS.items():
            container.setdefault(key, deepcopy(value))
        image = container.get("image", "")
        has_tag = ":" in image.rpartition("/")[2] and not image.endswith(":latest")
        container.setdefault("imagePullPolicy", "IfNotPresent" if has_tag else "Always")


def _validate(resource: Resource, obj: Object) -> None:
    name, spec = obj["metadata"]["name"], obj.get("spec") or {}
    replicas: Any = spec.get("replicas", 0)
    if not isinstance(replicas, int):
        raise refusals.bad_request(
            f"{resource.kind} in version {resource.version!r} cannot be handled as a {resource.kind}: json: cannot "
            "unmarshal string into Go struct field spec.replicas of type int32"
        )
    if replicas < 0:
        message = f"Invalid value: {replicas}: must be greater than or equal to 0"
        raise invalid(resource, name, "spec.replicas", message)
    if resource == PODS and not spec.get("containers"):
        raise invalid(resource, name, "spec.containers", "Required value", required=True)
    if resource in _FIXED_SELECTOR:
        _validate_template(resource, name, spec)
    if resource == BUDGETS and {"minAvailable", "maxUnavailable"} <= spec.keys():
        message = f"Invalid value: {spec}: minAvailable and maxUnavailable cannot be both set"
        raise invalid(resource, name, "spec", message)


def _validate_template(resource: Resource, name: str, spec: Object) -> None:
    if not spec.get("selector"):
        raise invalid(resource, name, "spec.selector", "Required value", required=True)
    if not spec["template"]["spec"].get("containers"):
        raise invalid(resource, name, "spec.template.spec.containers", "Required value", required=True)
    labels = spec["template"].get("metadata", {}).get("labels", {})
    wanted = spec["selector"].get("matchLabels", {})
    if any(labels.get(key) != value for key, value in wanted.items()):
        message = f"Invalid value: {labels}: `selector` does not match template `labels`"
        raise invalid(resource, name, "spec.template.metadata.labels", message)


def _check_immutable(resource: Resource, obj: Object, current: Object) -> None:
    name = obj["metadata"]["name"]
    if resource in _FIXED_SELECTOR and obj["spec"]["selector"] != current["spec"]["selector"]:
        message = f"Invalid value: {obj['spec']['selector']}: field is immutable"
        raise invalid(resource, name, "spec.selector", message)
    if resource == PODS and _fixed_part(obj) != _fixed_part(current):
        why = (
            "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
            "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously "
            "negative)"
        )
        raise refusals.invalid("Pod", name, field="spec", cause="FieldValueForbidden", message=why)


def _fixed_part(pod: Object) -> Object:
    spec = {key: value for key, value in pod["spec"].items() if key not in _MUTABLE_POD_FIELDS}
    containers = [{**container, "image": ""} for container in spec.get("containers", ())]
    return {**spec, "containers": containers}
