"""What was rolled out last, and what ran before it."""

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

_PROVEN_AFTER = timedelta(minutes=10)
"""A revision that stayed this long before the next one counts as one that worked."""


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
    """It served for ten minutes at least before it was replaced."""


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
        previous_was_healthy=previous is not None and _had_worked(previous, replaced_at=born),
    )


def _had_worked(previous: Workload, *, replaced_at: datetime) -> bool:
    born = previous.metadata.creation_timestamp
    return born is not None and replaced_at - born >= _PROVEN_AFTER


def _in_words(facts: Facts) -> str:
    before = (
        f"; before it revision {facts.previous_revision} ({facts.previous_image})" if facts.previous_revision else ""
    )
    age = format_duration(timedelta(seconds=int(facts.age.total_seconds())))
    return f"revision {facts.revision} ({facts.image}) since {age}{before}"
