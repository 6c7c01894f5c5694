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


def owned_by(updated: Object, current: Object, *, manager: str, subresource: str = "") -> Object:
    """With whoever has changed the replicas in its managed fields. Of no other field the fake tells the owner."""
    replicas = [obj.get("spec", {}).get("replicas") for obj in (updated, current)]
    if replicas[0] == replicas[1]:
        return updated
    owner = {"manager": manager, "operation": "Update", "fieldsType": "FieldsV1"}
    fields = {"fieldsV1": {"f:spec": {"f:replicas": {}}}}
    return {**updated, "metadata": {**updated["metadata"], "managedFields": [owner | fields | _through(subresource)]}}


def _through(subresource: str) -> Object:
    return {"subresource": subresource} if subresource else {}
