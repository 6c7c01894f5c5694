"""What Kubernetes said about the target lately."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, ClassVar

from remediator.clients.kubernetes.objects import Event
from remediator.diagnostics import Diagnostic, Look
from remediator.domain.errors import BadPayload
from remediator.domain.escalation import LONGEST_WAIT
from remediator.domain.incident import Incident
from remediator.domain.plan import Permission
from remediator.domain.target import NAMESPACED, Target
from remediator.language.duration import Duration, between
from remediator.toolbox import Toolbox


@dataclass(frozen=True, slots=True)
class Facts:
    warnings: int
    reasons: list[str]
    """Of the warnings, the most frequent first."""
    last_message: str


class RecentEvents(Diagnostic):
    """Warning events about the target and its pods within the last while."""

    Facts: ClassVar[type] = Facts
    target_kinds: ClassVar[tuple[str, ...]] = NAMESPACED

    within: Annotated[Duration, between(timedelta(), LONGEST_WAIT)] = timedelta(minutes=30)

    def permissions(self, target: Target | None) -> tuple[Permission, ...]:
        return (Permission("list", "events"),)

    async def examine(self, incident: Incident, tools: Toolbox) -> Look:
        if incident.target is None:
            raise BadPayload("this incident has no target to look at")
        events = await tools.kubernetes.events(incident.target.namespace)
        facts = judge(events, incident.target, since=tools.clock() - self.within)
        return Look(_in_words(facts), facts)


def judge(events: list[Event], target: Target, *, since: datetime) -> Facts:
    told = [
        event
        for event in events
        if event.type == "Warning" and is_about(event, target) and (_moment(event) or since) >= since
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


def is_about(event: Event, target: Target) -> bool:
    """By name: a Deployment's ReplicaSets and pods carry its name and a dash in front of theirs."""
    name = event.involved_object.name
    return name == target.name or name.startswith(f"{target.name}-")


def _moment(event: Event) -> datetime | None:
    return event.last_timestamp or event.event_time or event.metadata.creation_timestamp


def _in_words(facts: Facts) -> str:
    if not facts.warnings:
        return "no warnings"
    return f"{facts.warnings} warning(s): {', '.join(facts.reasons[:5])}; last: {facts.last_message[:160]}"
