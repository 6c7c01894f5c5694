"""An outage of the database as a value: when it began, why, and whether it is over. Pure; time is passed in.

Moments are readings of a clock that never goes back: during an outage there is no database's clock to ask.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

STEADY = timedelta(seconds=5)
"""A recovery that lasts less is none: what fails every other second is one outage, not hundreds."""


@dataclass(frozen=True, slots=True)
class Outage:
    began: timedelta
    reason: str
    ended: timedelta | None = None
    """When it was found well again, if only for a moment."""

    def lasted(self, at: timedelta) -> timedelta:
        return (at if self.ended is None else self.ended) - self.began


def lost(before: Outage | None, at: timedelta, reason: str) -> Outage:
    """A loss soon after a recovery is the same outage: its clock runs on."""
    if before is None or is_over(before, at):
        return Outage(at, reason)
    return Outage(before.began, reason)


def recovered(outage: Outage, at: timedelta) -> Outage:
    return outage if outage.ended is not None else replace(outage, ended=at)


def is_over(outage: Outage, at: timedelta) -> bool:
    return outage.ended is not None and at - outage.ended >= STEADY
