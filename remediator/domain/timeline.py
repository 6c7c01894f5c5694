"""The timeline: each decision, and each decision not to act, as people read it afterwards."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec


class EntryKind(StrEnum):
    ALERT = "alert"
    FINDING = "finding"
    PLAN = "plan"
    REHEARSAL = "rehearsal"
    GUARD = "guard"
    APPROVAL = "approval"
    FIX = "fix"
    CHECK = "check"
    VERIFIED = "verified"
    PAGE = "page"
    ACKNOWLEDGED = "acknowledged"
    UNDO = "undo"
    RESOLVED = "resolved"
    NOTE = "note"

    @classmethod
    def _missing_(cls, value: object) -> "EntryKind":
        """What a later release tells beside us reads as a note."""
        return cls.NOTE


class Entry(msgspec.Struct, frozen=True):
    kind: EntryKind
    message: str
    path: str = ""
    """The place in the rule: `fix[1]`, `guard.cooldown`."""
    data: Mapping[str, object] = msgspec.field(default_factory=dict)
    at: datetime | None = None
    """None until written: the database's clock stamps it."""
