"""Rolls all pods of a workload anew, as `kubectl rollout restart` does."""

from typing import Any, ClassVar

import msgspec

from remediator.actions import Action
from remediator.actions._roll_out import roll_out, rolled, seen
from remediator.clients.kubernetes.objects import Workload
from remediator.clients.kubernetes.reader import workload_path
from remediator.clients.kubernetes.writer import INTENT_ANNOTATION
from remediator.domain.ids import IntentId
from remediator.domain.incident import Incident
from remediator.domain.plan import NoPlan, Observed, Outcome, Permission, Plan
from remediator.domain.target import WORKLOADS, Target
from remediator.toolbox import Toolbox, WriteToolbox

RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"
"""When the incident began, so that the plan somebody approves is still the plan a minute later. It is the intent's mark
that makes each template a new one, and each roll-out one."""


class Restart(Action):
    """Restarts the workload by a new roll-out of the same template, as its strategy says. Refuses where no pod would
    go: with `OnDelete`, or a `partition` that keeps them all."""

    target_kinds: ClassVar[tuple[str, ...]] = WORKLOADS

    def permissions(self, target: Target) -> tuple[Permission, ...]:
        return (Permission("get", target.plural, "apps"), Permission("patch", target.plural, "apps"))

    async def plan(self, incident: Incident, tools: Toolbox) -> Plan | NoPlan:
        if incident.target is None:
            return NoPlan("no target")
        workload: Any = await tools.kubernetes.raw(workload_path(incident.target))
        metadata, spec = workload["metadata"], workload["spec"]
        shape = msgspec.structs.replace(msgspec.convert(workload, Workload), kind=incident.target.kind)
        if spec.get("paused"):
            return NoPlan(f"{incident.target} is paused: somebody is at work on it")
        if reason := _why_none_would_roll(shape):
            return NoPlan(f"no pod of {incident.target} would be restarted: {reason}")
        annotations = dict(spec["template"].get("metadata", {}).get("annotations") or {})
        annotations |= {RESTARTED_AT: incident.opened_at.isoformat(timespec="seconds"), INTENT_ANNOTATION: ""}
        patch: list[Any] = [
            {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
            {"op": "add", "path": "/spec/template/metadata/annotations", "value": annotations},
        ]
        return Plan(
            action=self.yaml_name(),
            target=incident.target,
            summary=f"restart {incident.target} ({_how_many(shape)} pods, {_pace(shape)})",
            calls=(roll_out(incident.target, patch, generation=metadata["generation"]),),
            precondition=f"{incident.target} is still generation {metadata['generation']}",
            pre_image=rolled(workload),
            units=shape.disturbed_by_roll_out,
        )

    async def run(self, plan: Plan, intent: IntentId, tools: WriteToolbox) -> Outcome:
        await tools.kubernetes.send(plan.calls[0], intent)
        return Outcome(done=True, detail=f"{plan.target} rolls out anew")

    async def observe(self, plan: Plan, intent: IntentId, tools: Toolbox) -> Observed:
        workload: Any = await tools.kubernetes.raw(workload_path(plan.target))
        marks = workload["spec"]["template"].get("metadata", {}).get("annotations") or {}
        return seen(marks.get(INTENT_ANNOTATION), intent, workload["metadata"], plan)


def _why_none_would_roll(workload: Workload) -> str:
    if workload.rolls_when_deleted:
        return "its updateStrategy is OnDelete, so pods go when somebody deletes them"
    if workload.rolled == 0 and workload.desired > 0:
        return f"its partition keeps all {workload.desired} as they are"
    return ""


def _how_many(workload: Workload) -> str:
    return str(workload.desired) if workload.rolled == workload.desired else f"{workload.rolled} of {workload.desired}"


def _pace(workload: Workload) -> str:
    if workload.recreates:
        return "all at once"
    units = workload.disturbed_by_roll_out
    return f"rolling, {units} at once" if units > 1 else "rolling"
