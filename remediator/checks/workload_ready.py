"""Whether the target runs as it is meant to."""

from typing import ClassVar

from remediator.checks import Check, Sign
from remediator.clients.kubernetes.objects import Workload
from remediator.domain.incident import Incident
from remediator.domain.plan import Permission
from remediator.domain.target import NAMESPACED, Target
from remediator.toolbox import Toolbox


class WorkloadReady(Check):
    """The target's roll-out is complete and every replica is available. No pods asked for: nothing is proven. Pods
    that no roll-out reaches by itself (a StatefulSet's before its `partition`, all with `OnDelete`) may be older."""

    target_kinds: ClassVar[tuple[str, ...]] = NAMESPACED

    def permissions(self, target: Target | None) -> tuple[Permission, ...]:
        if target is None or target.kind == "pod":
            return (Permission("get", "pods"),)
        return (Permission("get", target.plural, "apps"),)

    async def passes(self, incident: Incident, tools: Toolbox) -> Sign:
        if incident.target is None:
            return Sign(healthy=False, detail="the incident has no target to look at")
        if incident.target.kind == "pod":
            pod = await tools.kubernetes.pod(incident.target.namespace, incident.target.name)
            return Sign(pod.is_ready, f"pod {pod.metadata.name} is {'ready' if pod.is_ready else 'not ready'}")
        return judge(await tools.kubernetes.workload(incident.target))


def judge(workload: Workload) -> Sign:
    status, desired = workload.status, workload.desired
    if workload.kind == "daemonset":
        updated, ready, available = status.updated_number_scheduled, status.number_ready, status.number_available
    else:
        updated, ready, available = status.updated_replicas, status.ready_replicas, status.available_replicas
    if status.observed_generation < workload.metadata.generation:
        return Sign(healthy=False, detail="the controller has not seen the newest specification yet")
    if desired < 1:
        return Sign(healthy=False, detail=f"the {workload.kind} asks for no pods: nothing is proven")
    leaving = 0 if workload.kind == "daemonset" else status.replicas - desired
    healthy = updated >= workload.rolled and min(ready, available) >= desired and leaving <= 0
    return Sign(healthy, f"{ready} of {desired} ready, {updated} up to date, {available} available")
