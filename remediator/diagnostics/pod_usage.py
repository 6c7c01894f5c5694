"""What the target's pods use of the CPU and memory they may use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from remediator.clients.kubernetes.objects import Pod, PodMetrics, Resources, Usage
from remediator.clients.kubernetes.reader import to_read_pods
from remediator.diagnostics import Diagnostic, Look
from remediator.domain.errors import BadPayload, NotFound
from remediator.domain.incident import Incident
from remediator.domain.plan import Permission
from remediator.domain.target import WORKLOADS, Target
from remediator.toolbox import Toolbox

_SUFFIXES = {
    "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Facts:
    pods: int
    """That were measured, every container of them."""
    cpu: float | None
    """Share of the limits (requests where there is no limit) of all pods together. It has no value where a pod that is
    there was not measured, or a container has neither: `has()` asks, to read it is an error."""
    memory: float | None
    """The same for memory."""
    highest_memory: float | None
    """Of the pod that uses most of its own, among those of which that is known."""
    highest_memory_pod: str
    highest_memory_names: list[str]
    """Pods above 85 % of their own memory."""


class PodUsage(Diagnostic):
    """CPU and memory of the target's pods as a share of what they may use (0.7 is 70 %). Needs the metrics API."""

    Facts: ClassVar[type] = Facts
    target_kinds: ClassVar[tuple[str, ...]] = WORKLOADS

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
        pods = await tools.kubernetes.pods_of(workload)
        facts = judge(pods, metrics)
        return Look(_in_words(facts, there=len(_that_stay(pods))), facts)


def judge(pods: Sequence[Pod], metrics: Sequence[PodMetrics]) -> Facts:
    """Pure. A share of some pods is not that of all: those without figures are often the ones in trouble."""
    measured = {each.metadata.name: each for each in metrics}
    usages = [_usage(pod, measured.get(pod.metadata.name)) for pod in _that_stay(pods)]
    by_pod = sorted(((usage.memory.share, usage.pod) for usage in usages if usage.memory is not None), reverse=True)
    return Facts(
        pods=sum(usage.is_measured for usage in usages),
        cpu=_share_of_all([usage.cpu for usage in usages]),
        memory=_share_of_all([usage.memory for usage in usages]),
        highest_memory=by_pod[0][0] if by_pod else None,
        highest_memory_pod=by_pod[0][1] if by_pod else "",
        highest_memory_names=[pod for share, pod in by_pod if share > 0.85],
    )


@dataclass(frozen=True, slots=True)
class _Used:
    amount: float
    allowed: float

    @property
    def share(self) -> float:
        return round(self.amount / self.allowed, 4)


@dataclass(frozen=True, slots=True)
class _Usage:
    """None: unknown."""

    pod: str
    is_measured: bool
    cpu: _Used | None
    memory: _Used | None


def _that_stay(pods: Sequence[Pod]) -> list[Pod]:
    return [pod for pod in pods if pod.metadata.deletion_timestamp is None and not pod.is_over]


def _usage(pod: Pod, metrics: PodMetrics | None) -> _Usage:
    used = {container.name: container.usage for container in metrics.containers} if metrics is not None else {}
    is_measured = bool(pod.spec.containers) and all(container.name in used for container in pod.spec.containers)
    cpu, memory = (_used(pod, used, what) if is_measured else None for what in ("cpu", "memory"))
    return _Usage(pod.metadata.name, is_measured, cpu, memory)


def _used(pod: Pod, used: Mapping[str, Usage], what: str) -> _Used | None:
    """A container without a limit uses a share of nothing; leave it out, and the others' share reads as the pod's."""
    allowed = [_allowance(container.resources, what) for container in pod.spec.containers]
    amounts = [getattr(used[container.name], what) for container in pod.spec.containers]
    if not all(allowed) or not all(amounts):
        return None
    return _Used(sum(map(quantity, amounts)), sum(allowed))


def _allowance(resources: Resources, what: str) -> float:
    """0 where neither is set, or what is set is 0, which limits nothing."""
    return next((quantity(given[what]) for given in (resources.limits, resources.requests) if given.get(what)), 0.0)


def _share_of_all(used: Sequence[_Used | None]) -> float | None:
    known = [each for each in used if each is not None]
    if not known or len(known) < len(used):
        return None
    return _Used(sum(each.amount for each in known), sum(each.allowed for each in known)).share


def quantity(text: str) -> float:
    """Kubernetes' `250m`, `512Mi`, `2`, in units or bytes. Raises `BadPayload`."""
    number = text.rstrip("kKmMGTPEinu")
    suffix = text[len(number) :]
    try:
        return float(number) * (_SUFFIXES[suffix] if suffix else 1.0)
    except (KeyError, ValueError) as error:
        raise BadPayload(f"{text!r} is no Kubernetes quantity") from error


def _in_words(facts: Facts, *, there: int) -> str:
    whose = f"of what {there} pod(s) may use" if facts.pods == there else f"{facts.pods} of {there} pods were measured"
    most = (
        f"; most memory: {facts.highest_memory_pod} {_percent(facts.highest_memory)}"
        if facts.highest_memory_pod
        else ""
    )
    return f"cpu {_percent(facts.cpu)}, memory {_percent(facts.memory)}, {whose}{most}"


def _percent(share: float | None) -> str:
    return f"{share:.0%}" if share is not None else "unknown"
