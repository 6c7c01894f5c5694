"""What the target's pods use of the CPU and memory they may use."""

from dataclasses import dataclass
from typing import ClassVar

from remediator.clients.kubernetes.objects import PodMetrics, Workload
from remediator.clients.kubernetes.reader import to_read_pods
from remediator.diagnostics import Diagnostic, Look
from remediator.domain.errors import BadPayload, NotFound
from remediator.domain.incident import Incident
from remediator.domain.plan import Permission
from remediator.domain.target import Target
from remediator.toolbox import Toolbox

_SUFFIXES = {
    "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    pods: int
    """That were measured."""
    cpu: float
    """Share of the limits (requests where there is no limit) of all pods together; 0 where neither is set."""
    memory: float
    """The same for memory."""
    highest_memory: float
    """Of the pod that uses most of its own."""
    highest_memory_pod: str
    highest_memory_names: list[str]
    """Pods above 85 % of their own memory."""


class PodUsage(Diagnostic):
    """CPU and memory of the target's pods as a share of what they may use (0.7 is 70 %). Needs the metrics API."""

    Facts: ClassVar[type] = Facts

    def permissions(self, target: Target | None) -> tuple[Permission, ...]:
        return (Permission("list", "pods", "metrics.k8s.io"), *to_read_pods(target))

    async def examine(self, incident: Incident, tools: Toolbox) -> Look:
        if incident.target is None or incident.target.kind == "pod":
            raise BadPayload("usage is measured against a workload; this incident's target is none")
        workload = await tools.kubernetes.workload(incident.target)
        try:
            metrics = await tools.kubernetes.pod_metrics(workload)
        except NotFound as error:
            raise NotFound("the cluster has no metrics API (metrics-server), or the workload no pods") from error
        facts = judge(workload, metrics)
        return Look(_in_words(facts), facts)


def judge(workload: Workload, metrics: list[PodMetrics]) -> Facts:
    may_use = {
        container.name: (
            _allowance(container.resources.limits, container.resources.requests, "cpu"),
            _allowance(container.resources.limits, container.resources.requests, "memory"),
        )
        for container in workload.spec.template.spec.containers
    }
    pod_cpu, pod_memory = (
        (sum(allowances) for allowances in zip(*may_use.values(), strict=True)) if may_use else (0.0, 0.0)
    )
    cpu = _share(sum(_used(pod, "cpu") for pod in metrics), pod_cpu * len(metrics))
    memory = _share(sum(_used(pod, "memory") for pod in metrics), pod_memory * len(metrics))
    by_pod = sorted(((_share(_used(pod, "memory"), pod_memory), pod.metadata.name) for pod in metrics), reverse=True)
    highest, name = by_pod[0] if by_pod else (0.0, "")
    return Facts(
        pods=len(metrics),
        cpu=cpu,
        memory=memory,
        highest_memory=highest,
        highest_memory_pod=name,
        highest_memory_names=[pod for share, pod in by_pod if share > 0.85],
    )


def quantity(text: str) -> float:
    """Kubernetes' `250m`, `512Mi`, `2`, in units or bytes. Raises `BadPayload`."""
    number = text.rstrip("kKmMGTPEinu")
    suffix = text[len(number) :]
    try:
        return float(number) * (_SUFFIXES[suffix] if suffix else 1.0)
    except (KeyError, ValueError) as error:
        raise BadPayload(f"{text!r} is no Kubernetes quantity") from error


def _used(pod: PodMetrics, what: str) -> float:
    return sum(quantity(getattr(container.usage, what)) for container in pod.containers)


def _allowance(limits: object, requests: object, what: str) -> float:
    for given in (limits, requests):
        if isinstance(given, dict) and given.get(what):
            return quantity(given[what])
    return 0.0


def _share(used: float, allowed: float) -> float:
    return round(used / allowed, 4) if allowed > 0 else 0.0


def _in_words(facts: Facts) -> str:
    return f"cpu {facts.cpu:.0%}, memory {facts.memory:.0%} of what {facts.pods} pod(s) may use" + (
        f"; most memory: {facts.highest_memory_pod} {facts.highest_memory:.0%}" if facts.highest_memory_pod else ""
    )
