"""What Kubernetes said about the target lately."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, ClassVar

from remediator.clients.kubernetes.objects import Event
from remediator.clients.kubernetes.reader import to_read_pods
from remediator.diagnostics import Diagnostic, Look
from remediator.domain.errors import BadPayload
from remediator.domain.escalation import LONGEST_WAIT
from remediator.domain.incident import Incident
from remediator.domain.plan import Permission
from remediator.domain.target import NAMESPACED, WORKLOADS, Target
from remediator.language.duration import Duration, between
from remediator.toolbox import Toolbox


@dataclass(frozen=True, slots=True)
class Facts:
    warnings: int
    reasons: list[str]
    """Of the warnings, the most frequent first."""
    last_message: str


class RecentEvents(Diagnostic):
    """Warning events about the target, its ReplicaSets and its pods within the last while, and about no other workload
    whose name begins like its own."""

    Facts: ClassVar[type] = Facts
    target_kinds: ClassVar[tuple[str, ...]] = NAMESPACED

    within: Annotated[Duration, between(timedelta(), LONGEST_WAIT)] = timedelta(minutes=30)

    def permissions(self, target: Target | None) -> tuple[Permission, ...]:
        return (Permission("list", "events"), *(to_read_pods(target) if target and target.kind in WORKLOADS else ()))

    async def examine(self, incident: Incident, tools: Toolbox) -> Look:
        if incident.target is None:
            raise BadPayload("this incident has no target to look at")
        events = await tools.kubernetes.events(incident.target.namespace)
        told = [event for event in events if event.type == "Warning"]
        own = await _own(incident.target, tools) if told else frozenset()
        facts = judge(told, own, since=tools.clock() - self.within)
        return Look(_in_words(facts), facts)


@dataclass(frozen=True, slots=True)
class Named:
    """An object of the target's namespace, of a kind as an event has it in lower case."""

    kind: str
    name: str


async def _own(target: Target, tools: Toolbox) -> frozenset[Named]:
    """The target, its ReplicaSets, and its pods."""
    own = {Named(target.kind, target.name)}
    if target.kind not in WORKLOADS:
        return frozenset(own)
    workload = await tools.kubernetes.workload(target)
    own |= {Named("pod", pod.metadata.name) for pod in await tools.kubernetes.pods_of(workload)}
    if target.kind == "deployment":
        sets = await tools.kubernetes.replica_sets(workload)
        own |= {Named("replicaset", replica_set.metadata.name) for replica_set in sets}
    return frozenset(own)


def judge(events: Sequence[Event], own: Collection[Named], *, since: datetime) -> Facts:
    told = [
        event
        for event in events
        if event.type == "Warning" and is_about(event, own) and (_moment(event) or since) >= since
    ]
    told.sort(key=lambda event: _moment(event) or since)
    counts: Counter[str] = Counter()
    for event in told:
        counts[event.reason] += event.count or 1
    return Facts(
        warnings=sum(counts.values()),
        reasons=[reason for reason, _ in counts.most_common()],
        last_message=told[-1].message[:300] if told else "",
    )


def is_about(event: Event, own: Collection[Named]) -> bool:
    """Also where it is about a pod that is gone: it was made by the ReplicaSet whose name its own begins with."""
    about = Named(event.involved_object.kind.lower(), event.involved_object.name)
    made_by = Named("replicaset", about.name.rpartition("-")[0])
    return about in own or (about.kind == "pod" and made_by in own)


def _moment(event: Event) -> datetime | None:
    return event.last_timestamp or event.event_time or event.metadata.creation_timestamp


def _in_words(facts: Facts) -> str:
    if not facts.warnings:
        return "no warnings"
    return f"{facts.warnings} warning(s): {', '.join(facts.reasons[:5])}; last: {facts.last_message[:160]}"
