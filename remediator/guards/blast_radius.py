"""How much may be disturbed at once, over all rules and replicas, and how much must stand before anything is."""

from dataclasses import replace
from typing import Literal

from pydantic import Field, field_validator, model_validator

from remediator.domain.budget import Budget
from remediator.domain.errors import BadDocument
from remediator.domain.ledger import Ledger, Proposal
from remediator.domain.plan import Unit
from remediator.domain.target import TARGET_KINDS, WORKLOADS
from remediator.domain.verdict import Allow, Deny, Hold, Verdict
from remediator.guards import Guard, Window
from remediator.language.duration import format_duration


class UnboundedRadius(BadDocument, ValueError):
    """A blast radius without any bound bounds nothing."""


class BlastRadius(Guard):
    """Bounds how many pods, keys or nodes all rules together disturb within a time."""

    per: Literal["workload", "namespace", "cluster"] = Field(
        default="workload", description="What the bound is for: one target, all targets of its namespace, everything."
    )
    kind: str | None = Field(default=None, description="Counts and judges only targets of this kind.")
    of: Unit | None = Field(
        default=None, description="Counts and judges only these. Left out: pods and keys of a cache together."
    )
    at_most: int | None = Field(default=None, ge=1, description="So many units within the time.")
    share: float | None = Field(
        default=None, gt=0, le=1, description="This share of the workload's desired pods, but one at least."
    )
    within: Window = Field(description="The time in which they are counted.")
    ready_at_least: float = Field(
        default=0, ge=0, le=1, description="The share of pods that must be ready before anything is disturbed."
    )

    @field_validator("kind")
    @classmethod
    def _is_known(cls, kind: str | None) -> str | None:
        """One that is misspelt would bound nothing, without a word."""
        if kind is not None and kind not in TARGET_KINDS:
            raise ValueError(f"{kind!r} is no kind of target; known: {', '.join(TARGET_KINDS)}")
        if kind == "pod":
            raise ValueError("a pod is counted as its controller's, so this bounds nothing: name that kind, or none")
        return kind

    @model_validator(mode="after")
    def _bounds_something(self) -> "BlastRadius":
        if self.at_most is None and self.share is None:
            raise UnboundedRadius("give at_most, share or both")
        if self.share is not None and self.per != "workload":
            raise UnboundedRadius("a share is of one workload: leave out `per`, or give at_most instead")
        if self.share is not None and self.of is Unit.KEYS:
            raise UnboundedRadius("a share is of a workload's pods: give at_most for keys")
        return self

    def budgets(self, proposal: Proposal) -> tuple[Budget, ...]:
        if not self._concerns(proposal):
            return ()
        plan = proposal.plan
        others = () if self.of is not None else (unit for unit in Unit if unit is not plan.unit)
        beside = tuple(self._key(proposal, unit) for unit in others)
        key = self._key(proposal, plan.unit)
        return (Budget(key, self.at_most or plan.units, self.within, plan.units, beside),)

    def judge(self, proposal: Proposal, ledger: Ledger) -> Verdict:
        if not self._concerns(proposal):
            return Allow("nothing of this kind is disturbed")
        health = ledger.workload_health.get(proposal.target.key)
        if health is None and self._needs_health(proposal):
            return Deny(f"how many pods of {proposal.target} are ready is not known")
        if refusal := self._too_few_ready(proposal, health):
            return refusal
        budget = replace(self.budgets(proposal)[0], at_most=self._bound(proposal, health))
        return self._fit(budget, proposal, ledger)

    def _fit(self, budget: Budget, proposal: Proposal, ledger: Ledger) -> Verdict:
        limit = f"{budget.at_most} in {format_duration(self.within)} per {self.per}"
        if budget.units > budget.at_most:
            return Deny(f"it would disturb {budget.units}, more than {limit}")
        wait = ledger.free_in(budget)
        if wait is None:
            return Allow(f"{budget.units} more stays within {limit}", (budget,))
        return Hold(f"{budget.units} more would exceed {limit}", wait)

    def _concerns(self, proposal: Proposal) -> bool:
        plan = proposal.plan
        return plan.units > 0 and self.of in {None, plan.unit} and self.kind in {None, proposal.target.kind}

    def _needs_health(self, proposal: Proposal) -> bool:
        """Only workloads have pods to count; for anything else `at_most` is the whole bound."""
        counted = self.share is not None or self.ready_at_least > 0
        return counted and (proposal.target.kind in WORKLOADS or self.at_most is None)

    def _too_few_ready(self, proposal: Proposal, health: tuple[int, int] | None) -> Deny | None:
        if health is None or health[0] >= self.ready_at_least * health[1]:
            return None
        ready, desired = health
        return Deny(f"only {ready} of {desired} pods of {proposal.target} are ready, {self.ready_at_least:.0%} must be")

    def _bound(self, proposal: Proposal, health: tuple[int, int] | None) -> int:
        bounds = [self.at_most] if self.at_most is not None else []
        if self.share is not None and health is not None:
            bounds.append(max(1, int(self.share * health[1])))
        return min(bounds)

    def _key(self, proposal: Proposal, unit: Unit) -> str:
        """Where units of this kind are booked, whichever guard does it. Pods have the name that all were counted under
        before keys were told apart, so what was spent then still counts."""
        apart = "keys/" if unit is Unit.KEYS else ""
        return f"blast_radius/{apart}{self._scope(proposal)}"

    def _scope(self, proposal: Proposal) -> str:
        kind = f"{self.kind}/" if self.kind else ""
        match self.per:
            case "workload":
                return kind + proposal.target.key
            case "namespace":
                return f"{kind}namespace/{proposal.target.namespace}"
            case _:
                return f"{kind}cluster"
