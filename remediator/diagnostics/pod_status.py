"""How the pods of the target are: ready, failing, and why."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar

from remediator.clients.kubernetes.objects import ContainerStatus, Pod
from remediator.clients.kubernetes.reader import to_read_pods
from remediator.diagnostics import Diagnostic, Look
from remediator.domain.errors import BadPayload
from remediator.domain.incident import Incident
from remediator.domain.plan import Permission
from remediator.domain.target import NAMESPACED, Target
from remediator.language.duration import Duration
from remediator.toolbox import Toolbox

_FAILING = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)


@dataclass(frozen=True, slots=True)
class Facts:
    desired: int
    """Replicas asked for; for a single pod, 1."""
    ready: int
    healthy: int
    """Ready, and not failing."""
    failing: int
    failing_names: list[str]
    crash_looping: int
    oom_killed: int
    """Whose last end was the kernel's."""
    image_errors: int
    restarts: int
    """Of all containers together."""
    reasons: list[str] = field(default_factory=list)
    """Why pods fail, each reason once."""


class PodStatus(Diagnostic):
    """The pods of the target: how many are wanted, ready and failing, their names, and why they fail. Records of those
    that have ended, or that their node evicted, are none of a workload's pods: others have taken their place."""

    Facts: ClassVar[type] = Facts
    target_kinds: ClassVar[tuple[str, ...]] = NAMESPACED

    grace: Duration = timedelta(seconds=60)
    """How long a pod may take to become ready before it counts as failing."""

    def permissions(self, target: Target | None) -> tuple[Permission, ...]:
        return to_read_pods(target)

    async def examine(self, incident: Incident, tools: Toolbox) -> Look:
        if incident.target is None:
            raise BadPayload("this incident has no target to look at")
        desired = 1
        if incident.target.kind == "pod":
            pods = await tools.kubernetes.pods(incident.target)
        else:
            workload = await tools.kubernetes.workload(incident.target)
            pods = [pod for pod in await tools.kubernetes.pods_of(workload) if not pod.is_over]
            desired = workload.desired
        facts = judge(pods, desired=desired, now=tools.clock(), grace=self.grace)
        return Look(_in_words(facts), facts)


def judge(pods: list[Pod], *, desired: int, now: datetime, grace: timedelta) -> Facts:
    """Pure. A pod that is being deleted is neither healthy nor failing: it is leaving."""
    staying = [pod for pod in pods if pod.metadata.deletion_timestamp is None]
    reasons = {pod.metadata.name: why_failing(pod, now=now, grace=grace) for pod in staying}
    failing = sorted(name for name, reason in reasons.items() if reason)
    statuses = [status for pod in staying for status in pod.status.container_statuses]
    return Facts(
        desired=desired,
        ready=sum(pod.is_ready for pod in staying),
        healthy=sum(pod.is_ready and not reasons[pod.metadata.name] for pod in staying),
        failing=len(failing),
        failing_names=failing,
        crash_looping=sum(_waiting(status) == "CrashLoopBackOff" for status in statuses),
        oom_killed=sum(_last_end(status) == "OOMKilled" for status in statuses),
        image_errors=sum("Image" in _waiting(status) for status in statuses),
        restarts=sum(status.restart_count for status in statuses),
        reasons=sorted({reason for reason in reasons.values() if reason}),
    )


def why_failing(pod: Pod, *, now: datetime, grace: timedelta) -> str:
    """Empty: it is well, or young enough to become so."""
    for status in pod.status.container_statuses:
        if _waiting(status) in _FAILING:
            end = _last_end(status)
            return f"{_waiting(status)} ({end})" if end and end != "Error" else _waiting(status)
        if status.state.terminated is not None and pod.status.phase != "Succeeded":
            return status.state.terminated.reason or "Terminated"
    if pod.status.phase == "Failed":
        return pod.status.reason or "Failed"
    born = pod.metadata.creation_timestamp or now
    return "NotReady" if not pod.is_ready and now - born > grace and pod.status.phase != "Succeeded" else ""


def _waiting(status: ContainerStatus) -> str:
    return status.state.waiting.reason if status.state.waiting else ""


def _last_end(status: ContainerStatus) -> str:
    ended = status.last_state.terminated or status.state.terminated
    return ended.reason if ended else ""


def _in_words(facts: Facts) -> str:
    why = f" ({', '.join(facts.reasons)})" if facts.reasons else ""
    return f"{facts.ready} of {facts.desired} pods ready, {facts.failing} failing{why}, {facts.restarts} restart(s)"
