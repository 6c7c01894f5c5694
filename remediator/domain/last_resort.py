"""The deadlines kept in memory in case the database is lost, and what strikes when. Pure; time is passed in.

Moments are readings of a clock that never goes back, not times of day.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from remediator.domain.escalation import Due, EscalationPolicy, due_now
from remediator.domain.ids import IncidentId, RuleVersion
from remediator.domain.mode import Mode
from remediator.domain.notification import Notification
from remediator.domain.oncall import Contact, Recipient

TRY_AGAIN = timedelta(seconds=15)
"""After a page that reached nobody."""


@dataclass(frozen=True, slots=True)
class Call:
    """One page by one channel."""

    recipient: str
    dedup_key: str
    """The one that the ordinary path would use."""
    contact: Contact


@dataclass(frozen=True, slots=True)
class WaitingPage:
    """Written already, and not known to have been sent."""

    notification: Notification
    calls: tuple[Call, ...]
    due: timedelta
    taken_by: frozenset[str] = frozenset()
    """Channels that have it already, and where perhaps nobody looks."""

    @property
    def chain(self) -> IncidentId | None:
        """Whose chain it ends with, if any."""
        return self.notification.incident if self.notification.ends_with_its_chain else None

    def without(self, taken: Sequence[Call]) -> "WaitingPage":
        """What is left of it: no channel is given twice what it has taken."""
        left = tuple(call for call in self.calls if call not in taken)
        return replace(self, calls=left, taken_by=self.taken_by.union(call.contact.channel for call in taken))

    def again(self, due: timedelta) -> "WaitingPage":
        return replace(self, due=due)


@dataclass(frozen=True, slots=True)
class RunningChain:
    """An escalation whose next deadline is near."""

    incident: IncidentId
    rule_version: RuleVersion
    title: str
    severity: str
    urgent: bool
    mode: Mode
    policy: EscalationPolicy
    run: int
    started: timedelta | None
    """The first page of this run of the chain; None: it is still to come."""
    due: timedelta

    @property
    def chain(self) -> IncidentId:
        return self.incident


Deadline = WaitingPage | RunningChain


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Soonest first."""

    all: tuple[Deadline, ...] = ()

    @classmethod
    def of(cls, known: Iterable[Deadline], *, at_most: int) -> "Deadlines":
        return cls(tuple(sorted(known, key=lambda deadline: deadline.due)[:at_most]))

    @property
    def chains(self) -> frozenset[IncidentId]:
        return frozenset(deadline.chain for deadline in self.all if deadline.chain is not None)

    def struck(self, at: timedelta) -> "tuple[tuple[Deadline, ...], Deadlines]":
        """Those that are due, and the others."""
        due = tuple(deadline for deadline in self.all if deadline.due <= at)
        return due, Deadlines(self.all[len(due) :])

    def without(self, settled: "Mapping[IncidentId, RunningChain | None]") -> "Deadlines":
        """Without the chains of those incidents, but with the one that goes on in its time."""
        left = (deadline for deadline in self.all if deadline.chain not in settled)
        return Deadlines(tuple(left)).with_more(chain for chain in settled.values() if chain is not None)

    def with_more(self, more: Iterable[Deadline]) -> "Deadlines":
        return Deadlines(tuple(sorted((*self.all, *more), key=lambda deadline: deadline.due)))


def strike(chain: RunningChain, at: timedelta) -> tuple[Due, RunningChain]:
    """Whom to page now, and the chain with its next deadline. Late deadlines collapse, as they do with a database."""
    started = at if chain.started is None else chain.started
    due = due_now(chain.policy, at - started)
    return due, replace(chain, started=started, due=at + due.next_in)


def calls(prefix: str, people: Sequence[Recipient], channels: Sequence[str], *, urgent: bool) -> tuple[Call, ...]:
    """Every channel at once: the people on it by their address, and a channel that none of them has by its own."""
    found = tuple(
        Call(person.name, f"{prefix}:{person.key(contact, urgent=urgent)}", contact)
        for person in people
        for contact in person.reach
        if contact.channel in channels
    )
    left = _left(found, channels)
    return found + tuple(Call(name, f"{prefix}:{name}", Contact(name, "")) for name in left)


def by_every_channel(page: WaitingPage, channels: Sequence[str]) -> WaitingPage:
    """A page that was written for one person, on every channel: by their address where they have one on it."""
    found = tuple(call for call in page.calls if call.contact.channel in channels)
    note = page.notification
    to_try = [name for name in channels if name not in page.taken_by]
    more = tuple(Call(note.recipient, note.dedup_key, Contact(name, "")) for name in _left(found, to_try))
    return replace(page, calls=found + more)


def _left(found: Sequence[Call], channels: Sequence[str]) -> list[str]:
    covered = {call.contact.channel for call in found}
    return [name for name in channels if name not in covered]
