"""An incident: `Status` is for people, `Phase` says where the automation stands. `Progress` is what it knows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from remediator.domain.alert import Alert
from remediator.domain.budget import Budget
from remediator.domain.finding import Finding
from remediator.domain.ids import IncidentId, IntentId, RuleName, RuleVersion
from remediator.domain.mode import Mode
from remediator.domain.plan import Plan
from remediator.domain.target import Target
from remediator.domain.timeline import Entry


class Status(StrEnum):
    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Phase(StrEnum):
    OPENED = "opened"
    """Stored, nothing looked at yet."""
    DIAGNOSED = "diagnosed"
    """The facts are in; a fix is to be chosen and judged."""
    PROPOSED = "proposed"
    """A plan waits for a person's approval."""
    CLEARED = "cleared"
    """The guards said yes and the intent is journalled: the write may be in the world from here on."""
    FIXED = "fixed"
    """The write is done; its effect is being proven."""
    UNDOING = "undoing"
    """A leased fix is being taken back; its intent is journalled."""
    HANDED_OVER = "handed_over"
    """The automation is through; a person, or the alert's end, closes it."""
    CLOSED = "closed"
    LATER = "of a later release"
    """Whatever this release has no name for: left to a replica that has one, and shown as this."""

    @classmethod
    def _missing_(cls, value: object) -> "Phase":
        return cls.LATER


WRITE_FOLLOWS = (Phase.CLEARED, Phase.UNDOING)
"""The intent is journalled: whoever has the incident makes the write, or looks whether it was made."""


class AttemptResult(StrEnum):
    PASSED_OVER = "passed_over"
    """There was nothing it could do, or the other system would not have it."""
    FAILED = "failed"
    INEFFECTIVE = "ineffective"
    """It was done, and health did not come back."""
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One fix step that will not be tried again in this incident."""

    step: int
    result: AttemptResult
    why: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    digest: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class PendingUndo:
    """A leased fix: it is taken back at `at`, by the database's clock."""

    intent: IntentId
    at: datetime
    tries: int = 0
    """That failed."""
    waits_for: str = ""
    """Why nobody has tried yet, as the timeline was told last."""


class Progress(msgspec.Struct, frozen=True):
    """What the automation knows so far. Stored whole as JSON: a new release must read what an old one left."""

    findings: Mapping[str, Finding] = msgspec.field(default_factory=dict)
    diagnosed_at: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
    step: int | None = None
    """The fix step under way."""
    plan: Plan | None = None
    """What is proposed, cleared or done at `step`."""
    intent: IntentId | None = None
    proposed_at: datetime | None = None
    """Since when the plan waits for approval, where it does."""
    approval: Approval | None = None
    fixed_at: datetime | None = None
    healthy_since: datetime | None = None
    checked: str = ""
    """What the checks last said, so that only a change is told."""
    holds: int = 0
    """How often it was put off; it does not wait for ever."""
    held_until: datetime | None = None
    """When the wait of the last hold is over. What wakes the incident before begins no other."""
    undo: PendingUndo | None = None
    unsure_of: IntentId | None = None
    """A write that may or may not have happened: whoever has the incident in hand decides. Where it ends by itself
    before anybody has, somebody is told nevertheless."""
    last_word: str = ""
    """On the automation, for whoever is paged: what it waits for, or why it is through."""

    @property
    def has_failed_proof(self) -> bool:
        """Something was done, and health did not come back: no end of an alert alone says that it did."""
        return any(attempt.result is AttemptResult.INEFFECTIVE for attempt in self.attempts)

    def attempted(self, result: AttemptResult, why: str) -> "Progress":
        """The step under way is over; the next one is chosen afresh."""
        tried = (*self.attempts, Attempt(self.step, result, why)) if self.step is not None else self.attempts
        return replace(
            self,
            attempts=tried,
            step=None,
            plan=None,
            intent=None,
            approval=None,
            held_until=None,
            fixed_at=None,
            healthy_since=None,
            checked="",
        )


class Incident(msgspec.Struct, frozen=True):
    id: IncidentId
    rule: RuleName
    rule_version: RuleVersion
    title: str
    severity: str
    mode: Mode
    status: Status
    phase: Phase
    alert: Alert
    """What its fixes are for: the alert that opened it, or one that has taken its place (`engine/stand_in.py`)."""
    target: Target | None
    opened_at: datetime
    firing: bool
    """Whether any of its episodes is still open."""
    recovered: bool = True
    """False where an episode ended without a recovery (see `Alert.recovered`)."""
    alert_fires: bool = True
    """Whether `alert` itself does, and nobody has silenced it."""
    progress: Progress = msgspec.field(default_factory=Progress)
    epoch: int = 0
    """The fencing number of the current lease."""
    lease_until: datetime | None = None
    """By the database's clock; None: nobody holds it."""
    nudges: int = 0
    """Counts what happened from outside (alert ended, acknowledged, approved): a move that missed one wakes at once."""
    acknowledged_by: str = ""
    resolution: str = ""
    resolved_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.status is not Status.RESOLVED


class PageOrder(StrEnum):
    """What a move asks of the escalation clock, which otherwise runs on by itself."""

    KEEP = "keep"
    NOW = "now"
    STOP = "stop"


class Intent(msgspec.Struct, frozen=True):
    """A write to the world, journalled before it happens."""

    id: IntentId
    incident: IncidentId
    path: str
    plan: Plan
    budgets: tuple[Budget, ...] = ()
    timeout: timedelta = timedelta(seconds=15)
    undoes: IntentId | None = None


class IntentState(StrEnum):
    BEGUN = "begun"
    """Journalled; the write may be in the world."""
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class JournalledIntent:
    """What the journal says of a write, read back."""

    intent: Intent
    epoch: int
    """The claim that journalled it: only that one may run it."""
    state: IntentState
    detail: str


class IntentResult(msgspec.Struct, frozen=True):
    id: IntentId
    result: IntentState
    detail: str


class Move(msgspec.Struct, frozen=True):
    """What a stage decided. The worker commits it whole, in one transaction that checks the fencing number."""

    phase: Phase
    progress: Progress
    entries: tuple[Entry, ...] = ()
    wake_in: timedelta | None = timedelta()
    """From the database's now; None: nothing to do until something happens."""
    status: Status | None = None
    resolution: str = ""
    intent: Intent | None = None
    """Journalled with this move; the write follows in the same claim or is observed by the next."""
    result: IntentResult | None = None
    pages: PageOrder = PageOrder.KEEP
    alert: Alert | None = None
    """What the incident is about from now on; None: what it was."""

    @property
    def goes_on(self) -> bool:
        """Whether there is something to do at once, under the same lease."""
        return self.wake_in == timedelta() and self.phase is not Phase.CLOSED

    @property
    def kept(self) -> Progress:
        """What is to be stored: the reason for a page goes with it."""
        if self.pages is not PageOrder.NOW or not self.entries:
            return self.progress
        return replace(self.progress, last_word=self.entries[-1].message)
