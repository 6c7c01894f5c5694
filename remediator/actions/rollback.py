"""Puts a Deployment back to the revision before."""

from typing import Any, ClassVar

from remediator.actions import Action
from remediator.actions._roll_out import roll_out, rolled, seen
from remediator.clients.kubernetes.objects import Workload, has_newer_roll_out, newest_first
from remediator.clients.kubernetes.reader import namespace_path, workload_path
from remediator.clients.kubernetes.writer import INTENT_ANNOTATION
from remediator.domain.ids import IntentId
from remediator.domain.incident import Incident
from remediator.domain.plan import NoPlan, Observed, Outcome, Permission, Plan
from remediator.domain.target import Target
from remediator.toolbox import Toolbox, WriteToolbox

_HASH_LABEL = "pod-template-hash"
_DELIVERERS = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
}
"""Annotations and labels of tools that would put the newer revision back within minutes."""


class Rollback(Action):
    """Rolls the Deployment back to its previous revision, as `kubectl rollout undo` does. Refuses where there is none,
    where the Deployment is paused or a newer roll-out has just begun, and where Argo CD or Flux would undo it."""

    target_kinds: ClassVar[tuple[str, ...]] = ("deployment",)

    def permissions(self, target: Target) -> tuple[Permission, ...]:
        return (
            Permission("get", "deployments", "apps"),
            Permission("get", "replicasets", "apps"),
            Permission("list", "replicasets", "apps"),
            Permission("patch", "deployments", "apps"),
        )

    async def plan(self, incident: Incident, tools: Toolbox) -> Plan | NoPlan:
        if incident.target is None:
            return NoPlan("no target")
        deployment = await tools.kubernetes.workload(incident.target)
        if deliverer := delivered_by(deployment):
            return NoPlan(f"{incident.target} is delivered by {deliverer}, which would undo this: revert it there")
        raw: Any = await tools.kubernetes.raw(workload_path(incident.target))
        if raw["spec"].get("paused"):
            return NoPlan(f"{incident.target} is paused: somebody is at work on it")
        revisions = newest_first(await tools.kubernetes.replica_sets(deployment))
        if has_newer_roll_out(deployment, revisions):
            return NoPlan(f"a newer roll-out has just begun: the revision before it is not known for {incident.target}")
        if len(revisions) < 2:
            return NoPlan(f"{incident.target} has no earlier revision")
        template = await self._template(revisions[1], tools)
        before = {**rolled(raw), "revision": deployment.revision}
        return self._planned(incident.target, deployment, revisions[1], template=template, before=before)

    async def _template(self, replica_set: Workload, tools: Toolbox) -> dict[str, Any]:
        path = (
            f"{namespace_path('/apis/apps/v1', replica_set.metadata.namespace)}/replicasets/{replica_set.metadata.name}"
        )
        raw: Any = await tools.kubernetes.raw(path)
        template: dict[str, Any] = raw["spec"]["template"]
        template.get("metadata", {}).get("labels", {}).pop(_HASH_LABEL, None)
        return template

    def _planned(
        self,
        target: Target,
        deployment: Workload,
        previous: Workload,
        *,
        template: dict[str, Any],
        before: dict[str, object],
    ) -> Plan:
        metadata, units = deployment.metadata, deployment.disturbed_by_roll_out
        patch: list[Any] = [
            {"op": "test", "path": "/metadata/uid", "value": metadata.uid},
            {"op": "replace", "path": "/spec/template", "value": template},
            _mark(metadata.annotations),
        ]
        at_once = "all at once" if deployment.recreates else "at once"
        pace = f", {units} pods {at_once}" if units > 1 else ""
        return Plan(
            action=self.yaml_name(),
            target=target,
            summary=f"roll {target} back to revision {previous.revision} ({previous.images}){pace}",
            calls=(roll_out(target, patch, generation=metadata.generation),),
            precondition=f"{target} is still generation {metadata.generation}: no newer roll-out",
            pre_image=before,
            post_image={"revision": previous.revision},
            units=units,
        )

    async def run(self, plan: Plan, intent: IntentId, tools: WriteToolbox) -> Outcome:
        await tools.kubernetes.send(plan.calls[0], intent)
        return Outcome(done=True, detail=f"{plan.target} rolls back")

    async def observe(self, plan: Plan, intent: IntentId, tools: Toolbox) -> Observed:
        raw: Any = await tools.kubernetes.raw(workload_path(plan.target))
        marks = raw["metadata"].get("annotations") or {}
        return seen(marks.get(INTENT_ANNOTATION), intent, raw["metadata"], plan)


def delivered_by(workload: Workload) -> str:
    marks = {**workload.metadata.labels, **workload.metadata.annotations}
    return next((tool for key, tool in _DELIVERERS.items() if key in marks), "")


def _mark(annotations: Any) -> dict[str, object]:
    if not annotations:
        return {"op": "add", "path": "/metadata/annotations", "value": {INTENT_ANNOTATION: ""}}
    return {"op": "add", "path": f"/metadata/annotations/{INTENT_ANNOTATION.replace('/', '~1')}", "value": ""}
