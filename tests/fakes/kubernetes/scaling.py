"""The scale subresource: replicas of a workload, seen through autoscaling/v1 Scale."""

from copy import deepcopy

from . import refusals
from .resources import Object
from .selectors import as_text


def scale_of(workload: Object) -> Object:
    """A count of zero is left out of the spec, as on the wire."""
    metadata, replicas = workload["metadata"], workload["spec"]["replicas"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": {
            "replicas": workload.get("status", {}).get("replicas", 0),
            "selector": as_text(workload["spec"]["selector"]),
        },
    }


def with_replicas(workload: Object, scale: Object) -> Object:
    changed, name = deepcopy(workload), workload["metadata"]["name"]
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if replicas < 0:
        message = f"Invalid value: {replicas}: must be greater than or equal to 0"
        cause = "FieldValueInvalid"
        raise refusals.invalid("Scale", name, field="spec.replicas", cause=cause, message=message, group="autoscaling")
    changed["spec"]["replicas"] = replicas
    changed["metadata"]["resourceVersion"] = (scale.get("metadata") or {}).get("resourceVersion", "")
    return changed
