"""When a step wants a person's yes: never, always, or outside business hours."""

from dataclasses import dataclass
from datetime import datetime, time
from enum import StrEnum
from typing import assert_never
from zoneinfo import ZoneInfo


class ApprovalNeed(StrEnum):
    NEVER = "never"
    ALWAYS = "always"
    OUTSIDE_BUSINESS_HOURS = "outside_business_hours"


@dataclass(frozen=True, slots=True)
class BusinessHours:
    """In local wall-clock time; `days` counts from Monday, 0."""

    timezone: str = "UTC"
    days: frozenset[int] = frozenset({0, 1, 2, 3, 4})
    starts: time = time(9)
    ends: time = time(17)

    def include(self, at: datetime) -> bool:
        local = at.astimezone(ZoneInfo(self.timezone))
        return local.weekday() in self.days and self.starts <= local.time() < self.ends

    def __str__(self) -> str:
        return f"{self.starts:%H:%M}-{self.ends:%H:%M} {self.timezone}"


@dataclass(frozen=True, slots=True)
class Approval:
    """A step's `approve`, with the hours it is read by."""

    need: ApprovalNeed = ApprovalNeed.NEVER
    hours: BusinessHours = BusinessHours()

    def demanded(self, at: datetime) -> str:
        """Why a person must say yes at that moment; empty where nobody must."""
        match self.need:
            case ApprovalNeed.NEVER:
                return ""
            case ApprovalNeed.ALWAYS:
                return "this step always wants approval"
            case ApprovalNeed.OUTSIDE_BUSINESS_HOURS:
                return "" if self.hours.include(at) else f"outside business hours ({self.hours})"
            case never:
                assert_never(never)
