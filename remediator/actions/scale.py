"""Changes the number of replicas, for good or for a while."""

from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from remediator.actions import Action
from remediator.clients.kubernetes.read_only import FIELD_MANAGER
from remediator.clients.kubernetes.reader import workload_path
from remediator.clients.kubernetes.writer import manager_of
from remediator.domain.escalation import LONGEST_WAIT
from remediator.domain.ids import IntentId
from remediator.domain.incident import Incident, Intent
from remediator.domain.plan import Call, NoPlan, Observed, Outcome, Permission, Plan
from remediator.domain.target import Target
from remediator.language.duration import Duration, between, format_duration
from remediator.toolbox import Toolbox, WriteToolbox

_JSON_PATCH = "application/json-patch+json"


class Scale(Action):
    """Scales a Deployment or StatefulSet `by` so many replicas or `to` a number. Refuses where an HPA decides."""

    target_kinds: ClassVar[tuple[str, ...]] = ("deployment", "statefulset")

    by: int | None = None
    """Replicas to add; negative removes."""
    to: int | None = Field(default=None, ge=1)
    at_least: int = Field(default=1, ge=1)
    at_most: int = Field(default=10, ge=1, le=1_000)
    undo_after: Annotated[Duration, between(timedelta(seconds=1), LONGEST_WAIT)] | None = None
    """Back to what it was after this long, if nobody has changed it meanwhile."""

    @model_validator(mode="after")
    def _by_or_to(self) -> "Scale":
        if (self.by is None) == (self.to is None):
            raise ValueError("give either `by` or `to`")
        return self

    def permissions(self, target: Target) -> tuple[Permission, ...]:
        return (
            Permission("get", target.plural, "apps"),
            Permission("list", "horizontalpodautoscalers", "autoscaling"),
            Permission("patch", f"{target.plural}/scale", "apps"),
        )

    async def plan(self, incident: Incident, tools: Toolbox) -> Plan | NoPlan:
        if incident.target is None:
            return NoPlan("no target")
        autoscaler = await tools.kubernetes.autoscaler_of(incident.target)
        if autoscaler is not None:
            return NoPlan(f"the autoscaler {autoscaler.metadata.name} decides on the replicas of {incident.target}")
        workload = await tools.kubernetes.workload(incident.target)
        present = workload.spec.replicas
        if present == 0:
            return NoPlan(f"{incident.target} is scaled to none: somebody has switched it off")
        wanted = self.wanted(present)
        if wanted == present:
            return NoPlan(f"{incident.target} has {present} replicas already (at most {self.at_most})")
        return _planned(
            incident.target, workload.metadata.uid, present=present, wanted=wanted, undo_after=self.undo_after
        )

    def wanted(self, present: int) -> int:
        """Within bounds, but the bounds never turn more into fewer, nor fewer into more."""
        asked = self.to if self.to is not None else present + (self.by or 0)
        bounded = min(max(asked, self.at_least), self.at_most)
        return max(bounded, present) if asked >= present else min(bounded, present)

    async def run(self, plan: Plan, intent: IntentId, tools: WriteToolbox) -> Outcome:
        await tools.kubernetes.send(plan.calls[0], intent)
        return Outcome(done=True, detail=f"{plan.target} is asked for {plan.post_image['replicas']} replicas")

    async def observe(self, plan: Plan, intent: IntentId, tools: Toolbox) -> Observed:
        """What was wanted is there, whoever did it; what was before is still there; or somebody else was at work. For a
        while is ours alone: to take back what a person has set to the same number would undo their work."""
        workload = await tools.kubernetes.workload(plan.target)
        if workload.metadata.uid != plan.pre_image["uid"]:
            return Observed.UNKNOWN
        if workload.spec.replicas == plan.post_image["replicas"]:
            is_theirs = plan.undo_after is not None and workload.scaled_by not in _ours(intent)
            return Observed.NOT_DONE if is_theirs else Observed.DONE
        return Observed.NOT_DONE if workload.spec.replicas == plan.pre_image["replicas"] else Observed.UNKNOWN

    def undo(self, intent: Intent) -> Plan | NoPlan:
        before: Any = intent.plan.pre_image
        after: Any = intent.plan.post_image
        return _planned(intent.plan.target, before["uid"], present=after["replicas"], wanted=before["replicas"])


def _ours(intent: IntentId) -> tuple[str, ...]:
    """As this release signs, as the one before did, and what an API server that tells no owners says."""
    return manager_of(intent), FIELD_MANAGER, ""


def _planned(target: Target, uid: str, *, present: int, wanted: int, undo_after: timedelta | None = None) -> Plan:
    patch: list[Any] = [
        {"op": "test", "path": "/metadata/uid", "value": uid},
        {"op": "test", "path": "/spec/replicas", "value": present},
        {"op": "replace", "path": "/spec/replicas", "value": wanted},
    ]
    lease = f" for {format_duration(undo_after)}" if undo_after else ""
    return Plan(
        action="scale",
        target=target,
        summary=f"scale {target} from {present} to {wanted} replicas{lease}",
        calls=(Call("kubernetes", "PATCH", f"{workload_path(target)}/scale", body=patch, content_type=_JSON_PATCH),),
        precondition=f"{target} still asks for {present} replicas",
        pre_image={"uid": uid, "replicas": present},
        post_image={"replicas": wanted},
        units=max(present - wanted, 1),
        undo_after=undo_after,
    )
