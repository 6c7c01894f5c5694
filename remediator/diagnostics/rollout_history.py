"""What was rolled out last, and what ran before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from remediator.clients.kubernetes.objects import Workload, has_newer_roll_out, newest_first
from remediator.diagnostics import Diagnostic, Look
from remediator.domain.errors import BadPayload
from remediator.domain.incident import Incident
from remediator.domain.plan import Permission
from remediator.domain.target import Target
from remediator.language.duration import format_duration
from remediator.toolbox import Toolbox

_PROVEN_AFTER = timedelta(hours=1)
"""Whoever is paged mends or takes back a broken release within the hour. Ten minutes, as it was, are less than that
takes: a person's hot fix was rolled back to what it had mended."""


@dataclass(frozen=True, slots=True)
class Facts:
    revision: int
    age: timedelta
    """Since the present revision was made."""
    image: str
    previous_revision: int
    """0: there is none."""
    previous_image: str
    previous_was_healthy: bool
    """It stood for an hour at least before the present one was made, and its roll-out was completed: no revision before
    it has pods left. That is all that is known: Kubernetes keeps no history of readiness, and its events of an hour
    tell of a pod's trouble, not of a release's."""


class RolloutHistory(Diagnostic):
    """The Deployment's present and previous revision: how old, which image, and whether the previous one had worked."""

    Facts: ClassVar[type] = Facts
    target_kinds: ClassVar[tuple[str, ...]] = ("deployment",)

    def permissions(self, target: Target | None) -> tuple[Permission, ...]:
        return (Permission("get", "deployments", "apps"), Permission("list", "replicasets", "apps"))

    async def examine(self, incident: Incident, tools: Toolbox) -> Look:
        if incident.target is None or incident.target.kind != "deployment":
            raise BadPayload("only a Deployment has a roll-out history; this incident's target is none")
        deployment = await tools.kubernetes.workload(incident.target)
        replica_sets = await tools.kubernetes.replica_sets(deployment)
        if has_newer_roll_out(deployment, replica_sets):
            raise BadPayload("a newer roll-out has just begun: the Deployment has no ReplicaSet for it yet")
        facts = judge(replica_sets, now=tools.clock())
        return Look(_in_words(facts), facts)


def judge(replica_sets: list[Workload], *, now: datetime) -> Facts:
    revisions = newest_first(replica_sets)
    if not revisions:
        raise BadPayload("the Deployment has no ReplicaSet")
    present = revisions[0]
    previous = revisions[1] if len(revisions) > 1 else None
    born = present.metadata.creation_timestamp or now
    return Facts(
        revision=present.revision,
        age=now - born,
        image=present.images,
        previous_revision=previous.revision if previous else 0,
        previous_image=previous.images if previous else "",
        previous_was_healthy=previous is not None and _had_worked(previous, revisions[2:], replaced_at=born),
    )


def _had_worked(previous: Workload, older: Sequence[Workload], *, replaced_at: datetime) -> bool:
    """The pods of what is older go only as those of the new one become available: who has some left was never replaced
    by it."""
    born = previous.metadata.creation_timestamp
    was_completed = not any(replica_set.status.replicas for replica_set in older)
    return was_completed and born is not None and replaced_at - born >= _PROVEN_AFTER


def _in_words(facts: Facts) -> str:
    before = (
        f"; before it revision {facts.previous_revision} ({facts.previous_image})" if facts.previous_revision else ""
    )
    age = format_duration(timedelta(seconds=int(facts.age.total_seconds())))
    return f"revision {facts.revision} ({facts.image}) since {age}{before}"
