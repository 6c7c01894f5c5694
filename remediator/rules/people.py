"""Severities, people, channels, rotations and policies: from their documents to the domain's words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from zoneinfo import ZoneInfo

from remediator.domain.escalation import EscalationPolicy, EscalationStep, Severity
from remediator.domain.oncall import Contact, Override, Person, Roster, Schedule
from remediator.language.document import Path
from remediator.language.suggestion import did_you_mean
from remediator.notifiers import Notifier
from remediator.rules.complaints import Complaints
from remediator.rules.schema import (
    ChannelsDocument,
    PeopleDocument,
    PersonPart,
    PolicyDocument,
    SchedulePart,
    SchedulesDocument,
    SeveritiesDocument,
    SeverityPart,
)
from remediator.rules.steps import build_now


@dataclass(frozen=True, slots=True)
class Escalation:
    """Whom to call, how, and when."""

    severities: Mapping[str, Severity] = field(default_factory=dict)
    policies: Mapping[str, EscalationPolicy] = field(default_factory=dict)
    roster: Roster = field(default_factory=Roster)
    channels: Mapping[str, Notifier] = field(default_factory=dict)


Mention = tuple[Complaints, Path, str]
"""Where a name is mentioned, and the name."""


class EscalationReader:
    """Takes the documents in any order; the names they mention are checked once all are in."""

    def __init__(self) -> None:
        self._severities: dict[str, Severity] = {}
        self._policies: dict[str, EscalationPolicy] = {}
        self._people: dict[str, Person] = {}
        self._schedules: dict[str, Schedule] = {}
        self._channels: dict[str, Notifier | None] = {}
        """None: it is there, but not sound; that was told where it stands."""
        self._wanted_channels: list[Mention] = []
        self._wanted_people: list[Mention] = []
        self._wanted_policies: list[Mention] = []
        self._wanted_recipients: list[Mention] = []

    def severities(self, shape: SeveritiesDocument, complaints: Complaints) -> None:
        for name, part in shape.severities.items():
            path: Path = ("severities", name)
            if _is_new(name, self._severities, path, complaints):
                self._severities[name] = _severity(name, part)
                self._wanted_policies.append((complaints, (*path, "policy"), part.policy))

    def policy(self, shape: PolicyDocument, complaints: Complaints) -> None:
        if not _is_new(shape.policy, self._policies, ("policy",), complaints):
            return
        self._policies[shape.policy] = _policy(shape)
        self._wanted_recipients += [
            (complaints, ("steps", number, "page"), name)
            for number, step in enumerate(shape.steps)
            for name in step.page
        ]

    def people(self, shape: PeopleDocument, complaints: Complaints) -> None:
        for person, part in shape.people.items():
            path: Path = ("people", person)
            if _is_new(person, self._people, path, complaints):
                self._people[person] = _person(person, part)
                self._wanted_channels += [
                    (complaints, (*path, "reach", number, "channel"), contact.channel)
                    for number, contact in enumerate(part.reach)
                ]

    def schedules(self, shape: SchedulesDocument, complaints: Complaints) -> None:
        for name, part in shape.schedules.items():
            path: Path = ("schedules", name)
            if not _is_new(name, self._schedules, path, complaints):
                continue
            if part.turn is not None and (part.turn < timedelta(days=1) or part.turn % timedelta(days=1)):
                complaints.about((*path, "turn"), "a turn is whole days", hint="write it like 1d or 1w")
                continue
            self._schedules[name] = _schedule(name, part)
            for number, override in enumerate(part.overrides):
                if override.ends <= override.starts:
                    complaints.about((*path, "overrides", number, "ends"), "it ends before it starts")
            self._wanted_people += [(complaints, (*path, "participants"), person) for person in part.participants]
            self._wanted_people += [
                (complaints, (*path, "overrides", number, "person"), override.person)
                for number, override in enumerate(part.overrides)
            ]

    def channels(self, shape: ChannelsDocument, complaints: Complaints) -> None:
        for name, written in shape.channels.items():
            path: Path = ("channels", name)
            if _is_new(name, self._channels, path, complaints):
                self._channels[name] = build_now(Notifier, written, path, complaints)

    def finish(self) -> Escalation:
        """Tells of every name that stands for nothing. The rest is kept: a page to somebody is better than none."""
        _tell_unknown(self._wanted_channels, self._channels, "channel")
        _tell_unknown(self._wanted_people, self._people, "person")
        _tell_unknown(self._wanted_policies, self._policies, "policy")
        reachable = {**self._schedules, **self._people, **self._channels}
        _tell_unknown(self._wanted_recipients, reachable, "schedule, person or channel")
        channels = {name: notifier for name, notifier in self._channels.items() if notifier is not None}
        people = {name: _with_known(person, channels) for name, person in self._people.items()}
        return Escalation(
            severities={name: s for name, s in self._severities.items() if s.policy in self._policies},
            policies=self._policies,
            roster=Roster(people, self._schedules, frozenset(channels)),
            channels=channels,
        )


def _with_known(person: Person, channels: Mapping[str, Notifier]) -> Person:
    """Without the contacts that no channel carries, which were told of."""
    return replace(person, reach=tuple(contact for contact in person.reach if contact.channel in channels))


def _is_new(name: str, known: Mapping[str, object], path: Path, complaints: Complaints) -> bool:
    if name in known:
        complaints.about(path, f"{name!r} is defined in another place already", key=True)
        return False
    return True


def _tell_unknown(wanted: Iterable[Mention], known: Mapping[str, object], kind: str) -> None:
    for complaints, path, name in wanted:
        if name not in known:
            hint = did_you_mean(name, known) or f"known: {', '.join(sorted(known)) or 'none'}"
            complaints.about(path, f"there is no {kind} {name!r}", hint=hint)


def _severity(name: str, part: SeverityPart) -> Severity:
    severity = Severity(
        name=name,
        title=part.title,
        definition=part.definition,
        respond_within=part.respond_within,
        policy=part.policy,
        at_once=part.page == "at_once",
        urgent=part.urgent,
    )
    held = part.acknowledged_for
    return severity if held is None else replace(severity, acknowledged_for=held)


def _policy(shape: PolicyDocument) -> EscalationPolicy:
    steps = tuple(
        EscalationStep(tuple(step.page)) if step.wait is None else EscalationStep(tuple(step.page), step.wait)
        for step in shape.steps
    )
    policy = EscalationPolicy(shape.policy, steps)
    return policy if shape.repeat_every is None else replace(policy, repeat_every=shape.repeat_every)


def _person(name: str, part: PersonPart) -> Person:
    return Person(name, part.name, tuple(Contact(contact.channel, contact.address) for contact in part.reach))


def _schedule(name: str, part: SchedulePart) -> Schedule:
    zone = ZoneInfo(part.timezone)
    schedule = Schedule(
        name=name,
        participants=tuple(part.participants),
        starts_on=part.starts_on,
        timezone=part.timezone,
        overrides=tuple(
            Override(each.person, each.starts.replace(tzinfo=zone), each.ends.replace(tzinfo=zone))
            for each in part.overrides
        ),
    )
    return schedule if part.turn is None else replace(schedule, turn=part.turn)
