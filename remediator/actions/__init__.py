"""Changes. To add one: one file with one `Action`; it is then `use: <file name>` under `fix:`.

plan (look, decide, write nothing) -> rehearse (ask the other system) -> run (the write); observe after a crash; undo.
"""

from abc import ABC, abstractmethod
from datetime import timedelta
from typing import ClassVar

from remediator.catalogue import Plugin, StepTimeout
from remediator.domain.ids import IntentId
from remediator.domain.incident import Incident, Intent
from remediator.domain.plan import NoPlan, Observed, Outcome, Permission, Plan, Rehearsal
from remediator.domain.target import Target
from remediator.toolbox import Toolbox, WriteToolbox


class Action(Plugin, ABC):
    """A change to the world. It decides nothing: whether to act is for the rule and the guards."""

    target_kinds: ClassVar[tuple[str, ...]]
    """Which kinds of target it can work on."""

    timeout: StepTimeout = timedelta(seconds=15)
    """For the write alone. The lease (`engine.lease_seconds`) must have more than this left after planning."""

    @abstractmethod
    def permissions(self, target: Target) -> tuple[Permission, ...]:
        """Everything plan, rehearse, run, observe and undo may need."""

    @abstractmethod
    async def plan(self, incident: Incident, tools: Toolbox) -> Plan | NoPlan: ...

    async def rehearse(self, plan: Plan, tools: Toolbox) -> Rehearsal:
        """Sends the plan's Kubernetes calls with `dryRun=All`; actions on other systems override it."""
        for call in plan.calls:
            answer = await tools.kubernetes.rehearse(call)
            if not answer.accepted:
                return answer
        return Rehearsal(accepted=True, detail=f"the API server would accept {len(plan.calls)} call(s)")

    @abstractmethod
    async def run(self, plan: Plan, intent: IntentId, tools: WriteToolbox) -> Outcome:
        """Raises `Ambiguous` where it cannot know whether the write happened; the engine then observes."""

    @abstractmethod
    async def observe(self, plan: Plan, intent: IntentId, tools: Toolbox) -> Observed:
        """Whether the world shows this intent's write. Reads only."""

    def undo(self, intent: Intent) -> Plan | NoPlan:
        """The inverse, with the post-image as its precondition."""
        return NoPlan(f"{self.yaml_name()} cannot be undone")
