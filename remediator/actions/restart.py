"""Rolls all pods of a workload anew, as `kubectl rollout restart` does."""

from typing import Any, ClassVar

import msgspec

from remediator.actions import Action
from remediator.clients.kubernetes.objects import WorkloadSpec
from remediator.clients.kubernetes.reader import workload_path
from remediator.clients.kubernetes.writer import INTENT_ANNOTATION
from remediator.domain.ids import IntentId
from remediator.domain.incident import Incident
from remediator.domain.plan import Call, NoPlan, Observed, Outcome, Permission, Plan
from remediator.domain.target import WORKLOADS, Target
from remediator.toolbox import Toolbox, WriteToolbox

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
"""When the incident began, so that the plan somebody approves is still the plan a minute later. It is the intent's mark
that makes each template a new one, and each roll-out one."""
JSON_PATCH = "application/json-patch+json"


class Restart(Action):
    """Restarts the workload by a new roll-out of the same template: pod by pod, as its strategy says."""

    target_kinds: ClassVar[tuple[str, ...]] = WORKLOADS

    def permissions(self, target: Target) -> tuple[Permission, ...]:
        return (Permission("get", target.plural, "apps"), Permission("patch", target.plural, "apps"))

    async def plan(self, incident: Incident, tools: Toolbox) -> Plan | NoPlan:
        if incident.target is None:
            return NoPlan("no target")
        workload: Any = await tools.kubernetes.raw(workload_path(incident.target))
        metadata, spec = workload["metadata"], workload["spec"]
        if spec.get("paused"):
            return NoPlan(f"{incident.target} is paused: somebody is at work on it")
        annotations = dict(spec["template"].get("metadata", {}).get("annotations") or {})
        annotations |= {RESTARTED_AT: incident.opened_at.isoformat(timespec="seconds"), INTENT_ANNOTATION: ""}
        patch: list[Any] = [
            {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
            {"op": "test", "path": "/metadata/generation", "value": metadata["generation"]},
            {"op": "add", "path": "/spec/template/metadata/annotations", "value": annotations},
        ]
        shape = msgspec.convert(spec, WorkloadSpec)
        pace = "all at once" if shape.recreates else "rolling"
        return Plan(
            action=self.yaml_name(),
            target=incident.target,
            summary=f"restart {incident.target} ({spec.get('replicas', 'all')} pods, {pace})",
            calls=(Call("kubernetes", "PATCH", workload_path(incident.target), body=patch, content_type=JSON_PATCH),),
            precondition=f"{incident.target} is still generation {metadata['generation']}",
            pre_image={"uid": metadata["uid"], "generation": metadata["generation"]},
            units=shape.disturbed_by_roll_out,
        )

    async def run(self, plan: Plan, intent: IntentId, tools: WriteToolbox) -> Outcome:
        await tools.kubernetes.send(plan.calls[0], intent)
        return Outcome(done=True, detail=f"{plan.target} rolls out anew")

    async def observe(self, plan: Plan, intent: IntentId, tools: Toolbox) -> Observed:
        workload: Any = await tools.kubernetes.raw(workload_path(plan.target))
        marks = workload["spec"]["template"].get("metadata", {}).get("annotations") or {}
        return seen(marks.get(INTENT_ANNOTATION), intent, workload["metadata"], plan)


def seen(mark: object, intent: IntentId, metadata: Any, plan: Plan) -> Observed:
    """Ours is there; or nobody has changed the object since; or we cannot tell."""
    if mark == intent:
        return Observed.DONE
    unchanged = all(metadata.get(name) == value for name, value in plan.pre_image.items())
    return Observed.NOT_DONE if unchanged else Observed.UNKNOWN
