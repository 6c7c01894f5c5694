"""What people may write, document by document: the shape alone. What the words mean is for `compile` and `people`.

A document is known by its first word (`rule:`, `severities:`, `policy:` ...), not by its file's name or folder.
"""

from datetime import datetime, time, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from remediator.domain.errors import BadDocument
from remediator.domain.escalation import LONGEST_WAIT, SHORTEST_REPEAT
from remediator.domain.guidance import LONGEST_LINK, LONGEST_LINK_NAME, checked_link, checked_link_name
from remediator.language.documented import Documented
from remediator.language.duration import Duration, between
from remediator.rules.approval import ApprovalNeed

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9_.]{0,62}[a-z0-9])?$", examples=["service-down"])]
"""Stands in budgets, metrics and addresses, so it is short and plain."""
FindingName = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$", examples=["pods"])]
"""Part of a variable's name: `diagnose.pods.failing`."""
StepDocument = dict[str, object]
"""`use: <plug-in>` and its parameters; each plug-in checks its own."""


class BadTimezone(BadDocument, ValueError):
    """No such place in the time-zone database."""


class BadMoment(BadDocument, ValueError):
    """It is not a moment such as 2026-01-05T09:00."""


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadTimezone(f"{name!r} is not a time zone; write it like Europe/Berlin or UTC") from error
    return name


def _wall_clock(value: object) -> datetime:
    """Of a number the library would make seconds since 1970, with an offset: 20260105 is somebody's date."""
    try:
        moment = datetime.fromisoformat(_text(value))
    except ValueError as error:
        raise BadMoment(f"{value!r} is not a moment; write it like 2026-01-05T09:00") from error
    if moment.tzinfo is not None:
        raise BadMoment(f"{value!r} carries an offset; write local time and name the `timezone`")
    return moment


def _clock_time(value: object) -> time:
    try:
        of_day = time.fromisoformat(_text(value))
    except ValueError as error:
        raise BadMoment(f"{value!r} is not a time of day; write it like 09:00") from error
    if of_day.tzinfo is not None:
        raise BadMoment(f"{value!r} carries an offset; write local time and name the `timezone`")
    return of_day


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")  # a `TypeError` would not be told as a problem of the file
    return value


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Timezone = Annotated[str, AfterValidator(_known_timezone), Field(examples=["Europe/Berlin"])]
WallClock = Annotated[datetime, BeforeValidator(_wall_clock), Field(examples=["2026-01-05T09:00"])]
ClockTime = Annotated[time, BeforeValidator(_clock_time), Field(examples=["09:00"])]
Names = Annotated[list[str], Field(min_length=1), BeforeValidator(_as_list, json_schema_input_type=str | list[str])]
"""One name may stand without its brackets."""
LinkName = Annotated[
    str, AfterValidator(checked_link_name), WithJsonSchema({"type": "string", "maxLength": LONGEST_LINK_NAME})
]
Link = Annotated[
    str,
    AfterValidator(checked_link),
    WithJsonSchema({"type": "string", "pattern": "^https?://", "maxLength": LONGEST_LINK}),
]
"""`checked_link` says all that is wrong in words; the schema is for editors."""


class Part(Documented, BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class TargetPart(Part):
    """What a fix may touch: one kind, by name. Without a target there is no fix."""

    deployment: str | None = None
    statefulset: str | None = None
    daemonset: str | None = None
    pod: str | None = None
    node: str | None = None
    redis: str | None = None
    database: str | None = None
    namespace: str | None = None


Wait = Annotated[Duration, between(timedelta(), LONGEST_WAIT)]
"""No longer than a database's time can be added to."""


class VerifyPart(Part):
    """How a fix is proven. Without checks nothing is proven, and a person is paged."""

    within: Wait | None = None
    """Until then health must have come back."""
    steady_for: Wait | None = None
    """Health must hold for so long."""
    checks: list[StepDocument] = Field(min_length=1)


class EscalatePart(Part):
    policy: str | None = None
    """Instead of the severity's own policy."""
    after: Literal["verify", "at_once"] | None = None
    """`at_once` pages when the alert is stored; `verify` when the fix did not work, or took too long."""


class RuleDocument(Part):
    """One alert of the runbook: what to look at, what to try, how to prove it, whom to call."""

    rule: Name
    summary: str = ""
    """What has happened, in a sentence: for the people who are paged."""
    match: Names
    """Alertmanager's matchers; any line may match, and in a line all matchers must hold."""
    priority: int = 0
    """The higher one wins where rules overlap."""
    severity: str
    """A name in severities.yaml, or an expression that gives one: ${{ alert.labels.severity }}."""
    respond_within: Wait | None = None
    """The deadline by which a fix must be proven, or a person is paged."""
    mode: Literal["observe", "suggest", "act"] = "act"
    """Lowers the daemon's ceiling for this rule; it cannot raise it."""
    target: TargetPart | None = None
    diagnose: dict[FindingName, StepDocument] = {}
    """Read-only looks, all at once; each gives `diagnose.<name>.<fact>` to the expressions below."""
    fix: list[StepDocument] = []
    """In order: the first whose `when` holds is tried and verified, and only then the next."""
    guard: list[StepDocument] = []
    """Added to the global guards; a rule can only be stricter."""
    verify: VerifyPart | None = None
    escalate: EscalatePart = EscalatePart()
    links: dict[LinkName, Link] = {}
    """Where the people who are paged look next (dashboards, documents): name -> URL. A page has the first five."""


class SeverityPart(Part):
    title: str
    definition: str
    respond_within: Wait
    """How soon a person, or a proven fix, must be there."""
    policy: str
    page: Literal["at_once", "after_verify"] = "at_once"
    urgent: bool = False
    """Uses every contact of a person at once."""
    acknowledged_for: Wait | None = None
    """How long an acknowledgement holds an open incident before the chain starts again."""


class SeveritiesDocument(Part):
    """The runbook's table of severities."""

    severities: dict[Name, SeverityPart] = Field(min_length=1)


class HoursPart(Part):
    timezone: Timezone = "UTC"
    days: list[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]] = ["mon", "tue", "wed", "thu", "fri"]
    starts: ClockTime = time(9)
    ends: ClockTime = time(17)


class GuardsDocument(Part):
    """Guards that every fix of every rule must pass. Mode and kill switch are always among them."""

    guards: list[StepDocument]
    business_hours: HoursPart = HoursPart()
    """What `approve: outside_business_hours` is read by."""


class ContactPart(Part):
    channel: str
    address: str = ""


class PersonPart(Part):
    name: str
    reach: list[ContactPart] = Field(min_length=1)
    """In order of preference: where one fails, the next is used."""


class PeopleDocument(Part):
    """Who can be paged, and how."""

    people: dict[Name, PersonPart]


class ChannelsDocument(Part):
    """Ways to reach people: each is `use: <notifier>` with its settings. Secrets are named, never written."""

    channels: dict[Name, StepDocument]


class OverridePart(Part):
    person: str
    starts: WallClock
    ends: WallClock


class SchedulePart(Part):
    participants: Names
    starts_on: WallClock
    """The first hand-over, in local time; later ones keep its wall-clock time."""
    timezone: Timezone = "UTC"
    turn: Annotated[Duration, between(timedelta(), LONGEST_WAIT)] | None = None
    """Whole days; one week where it is left out."""
    overrides: list[OverridePart] = []


class SchedulesDocument(Part):
    """Who is on call when."""

    schedules: dict[Name, SchedulePart]


class PolicyStepPart(Part):
    page: Names
    """Schedules, people or channels."""
    wait: Wait | None = None
    """How long an acknowledgement may take before the next step."""


class PolicyDocument(Part):
    """Whom to page, and whom after that."""

    policy: Name
    steps: list[PolicyStepPart] = Field(min_length=1)
    repeat_every: Annotated[Duration, between(SHORTEST_REPEAT, LONGEST_WAIT)] | None = None
    """After the last step everybody is paged again at this pace, until somebody acknowledges."""


class FixKeys(Part):
    """What a step under `fix:` has beside its action's own parameters."""

    when: str | None = None
    approve: ApprovalNeed = ApprovalNeed.NEVER


DOCUMENTS: dict[str, type[Part]] = {
    "rule": RuleDocument,
    "severities": SeveritiesDocument,
    "guards": GuardsDocument,
    "people": PeopleDocument,
    "channels": ChannelsDocument,
    "schedules": SchedulesDocument,
    "policy": PolicyDocument,
}
"""The key that tells a document's kind."""
