"""What can be seen of one seed from outside: the database's rows, the cluster's writes, the pages, the answers."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from remediator.domain.mode import Mode
from tests.fakes.alertmanager_peers import Delivery, Told
from tests.fakes.kubernetes import Recorded
from tests.faults.books import Books, Row
from tests.faults.inbox import Arrival, Inbox
from tests.faults.polling import Poll
from tests.faults.scenario import Response


@dataclass(frozen=True, slots=True)
class Answered:
    """What a person was told is done."""

    incident: int
    does: Response


@dataclass(frozen=True, slots=True)
class Approved:
    """What a person was told is approved."""

    incident: int
    plan: str
    """Its digest."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a replica said while nothing came through to its database."""

    of: str
    status: int
    """0: nothing, for longer than anybody waits."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Standstill:
    """While the kill switch was on for certain: from the answer that it is, until the first word that it shall not."""

    begins_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Broken:
    """What of a body cannot be read."""

    position: int
    """Of the alert; -1: nothing of it can."""
    raw: bytes
    """As it was sent."""


@dataclass(slots=True)
class Sent:
    """One body of a sender who tells each alert in one body only, and what it was answered whenever it was sent."""

    body: bytes
    unwanted: tuple[str, ...] = ()
    """The alerts in it that can be read and that no rule matches, by their fingerprints."""
    wanted: tuple[str, ...] = ()
    """Those that fire and that a rule matches."""
    broken: tuple[Broken, ...] = ()
    readable: int = 0
    """How many alerts it has that can be read."""
    attempts: int = 0
    answers: Counter[int] = field(default_factory=Counter)
    """By status."""
    receipts: list[tuple[int, int]] = field(default_factory=list)
    """How many of its alerts are stored and how many were rejected, as we were told with a 2xx."""

    def copy(self) -> "Sent":
        """As it stands."""
        return replace(self, answers=self.answers.copy(), receipts=list(self.receipts))

    @property
    def promised(self) -> int:
        """What it is answered for good."""
        return 400 if any(one.position < 0 for one in self.broken) else 202

    @property
    def kept(self) -> int:
        """How often we were told that it is."""
        return self.answers[self.promised]


@dataclass(frozen=True, slots=True)
class Knock:
    """An ordinary alert for one replica, when the troubles are over."""

    at: str
    status: int
    """The last answer; 0: there was none."""
    seconds: float
    """Until it was accepted, or nobody tried any longer."""
    fingerprint: str = ""
    edition: int = 0
    """Of the rules, the latest one: everybody has had time to find it."""


@dataclass(frozen=True, slots=True)
class Edition:
    number: int
    at: datetime
    """Nobody can have read it before."""
    is_sound: bool
    lacks: str = ""
    """The rule that is not there, or is wrong: then whoever runs goes on by the set it has, who begins goes without."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """Copies, for the world goes on meanwhile. Of what the books must know, as it was before they were read; of what
    happened if they say so, as it was afterwards."""

    mode: Mode
    books: Books
    writes: Sequence[Recorded]
    """Before, as all until `knocks`."""
    arrivals: Sequence[Arrival]
    deliveries: Sequence[Delivery]
    answered: Sequence[Answered]
    approved: Sequence[Approved]
    polls: Sequence[Poll]
    probes: Sequence[Probe]
    standstills: Sequence[Standstill]
    knocks: Sequence[Knock]
    sent: Sequence[Sent]
    """Afterwards, as all that follows."""
    editions: Sequence[Edition]
    taken: Mapping[str, int]
    """How often the lease of a page was taken from whoever had it, by its dedup key: that one may have sent it."""
    inbox: Inbox
    """What is recorded as sent must have arrived."""
    effects: Sequence[Recorded]
    """The writes that were carried out: what is recorded as done must be among them."""
    replicas: Mapping[str, int]
    """That each workload asks for."""
    firings: Sequence[Told]
    """All that there were, by their start: what is believed must have happened."""
    births: Sequence[datetime]
    """Of the daemons."""
    begun_with: Mapping[int, str]
    """The version of its rule that each incident had when it was seen first."""
    thawed: Sequence[Row]
    """Incidents that others had closed when a frozen replica was let go on, as they were at that moment."""
