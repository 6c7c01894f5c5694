"""Who is on call: people, the ways to reach them, and rotations. Pure arithmetic over time zones.

A rotation hands over at a local wall-clock time, so a week over a DST change is an hour longer or shorter;
that is what people expect of "Monday 09:00" (PagerDuty and GoAlert do the same).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Contact:
    channel: str
    """The name of a channel in `oncall/channels.yaml`."""
    address: str
    """What that channel needs: an e-mail address, a phone number, a Slack user. May be empty (console)."""


@dataclass(frozen=True, slots=True)
class Person:
    id: str
    name: str
    reach: tuple[Contact, ...]
    """In order of preference: where one fails, the next is used."""


@dataclass(frozen=True, slots=True)
class Override:
    person: str
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Schedule:
    name: str
    participants: tuple[str, ...]
    starts_on: datetime
    """Naive: the local wall-clock time of the first hand-over in `timezone`."""
    timezone: str = "UTC"
    turn: timedelta = timedelta(weeks=1)
    """Whole days; hand-overs keep the wall-clock time of `starts_on`."""
    overrides: tuple[Override, ...] = ()


def on_call(schedule: Schedule, at: datetime) -> str | None:
    """The person id on call at `at` (aware); None where the rotation has not begun or nobody takes part."""
    for override in schedule.overrides:
        if override.starts_at <= at < override.ends_at:
            return override.person
    if not schedule.participants:
        return None
    zone = ZoneInfo(schedule.timezone)
    turns = (at.astimezone(zone).replace(tzinfo=None) - schedule.starts_on) // schedule.turn
    following = (schedule.starts_on + (turns + 1) * schedule.turn).replace(tzinfo=zone)
    if following.astimezone(UTC) <= at.astimezone(UTC):  # in an hour that comes twice: it was handed over in the first
        turns += 1
    return schedule.participants[turns % len(schedule.participants)] if turns >= 0 else None


@dataclass(frozen=True, slots=True)
class Recipient:
    name: str
    """A person's id, or the channel's name where a step pages a channel."""
    reach: tuple[Contact, ...]

    def key(self, contact: Contact, *, urgent: bool) -> str:
        """Names the message by this contact: there is one for the person, or, urgent, one for each channel. Part of its
        dedup key, and the same with and without a database, so that a provider can tell the second from the first."""
        return f"{self.name}:{contact.channel}" if urgent else self.name


@dataclass(frozen=True, slots=True)
class Roster:
    people: Mapping[str, Person] = field(default_factory=dict)
    schedules: Mapping[str, Schedule] = field(default_factory=dict)
    channels: frozenset[str] = frozenset()

    def recipient(self, name: str, at: datetime) -> Recipient | None:
        """`name` is a schedule, a person or a channel, tried in that order. None: nobody, which the caller must say."""
        if name in self.schedules:
            return self._person(on_call(self.schedules[name], at))  # who may have the schedule's own name
        if name in self.people:
            return self._person(name)
        return Recipient(name, (Contact(name, ""),)) if name in self.channels else None

    def _person(self, name: str | None) -> Recipient | None:
        person = self.people.get(name) if name is not None else None
        return Recipient(person.id, person.reach) if person is not None else None
