"""What goes wrong in one seed, in words that can be told. It is drawn whole before anything runs (`drawing.py`)."""

from dataclasses import dataclass
from enum import StrEnum

from remediator.domain.mode import Mode
from remediator.marks import Mark
from tests.fakes.alertmanager_peers import Wire
from tests.faults.daemon import How

MARKS = tuple(Mark)
LEASE_SECONDS = 5
"""Where leases run out in their own time."""
FROZEN_SECONDS = 6.5
"""How long a SIGSTOP lasts."""
REST_WITHIN = 180.0
"""Seconds. A frozen replica's transaction may last for 30 s, lives follow one another, and the machine may be a busy
one."""


class Trouble(StrEnum):
    """What is behind an alert, and so what becomes of it; each has its rule in `rules.py`."""

    REPLACE = "Replace"
    """A pod fails; a new one is healthy."""
    RESTART = "Restart"
    """The same, and a new roll-out helps."""
    SCALE = "Scale"
    """Needs one more replica for a while: a leased fix."""
    HOPELESS = "Hopeless"
    """No fix helps until the end."""
    LOOK = "Look"
    """Nothing to fix by rule; a person is paged at once."""
    APPROVED = "Approved"
    """The fix waits for a person's yes."""


class DatabaseFault(StrEnum):
    CONNECTIONS = "its connections are cut"
    CRASH = "one backend is killed with -9, the server recovers"
    RESTART = "it is restarted with -m immediate"
    HANGS = "nothing comes through to it, and then what was said meanwhile does"
    HANGS_UNTIL_CUT = "nothing comes through to it, and then the connections are cut"


HANGS = (DatabaseFault.HANGS, DatabaseFault.HANGS_UNTIL_CUT)


class PagerFault(StrEnum):
    BUSY = "answers 503 a few times"
    REFUSES = "refuses every message with 400"
    SILENT = "takes the message and answers nothing, a few times"
    ALL_DEAD = "no channel takes anything for a while"


class Loss(StrEnum):
    """What no webhook ever tells of an alert, however often its sender repeats itself."""

    NOTHING = "nothing"
    START = "start"
    END = "end"
    ALL = "all"

    @property
    def loses_starts(self) -> bool:
        return self in {Loss.START, Loss.ALL}

    @property
    def loses_ends(self) -> bool:
        return self in {Loss.END, Loss.ALL}


class Edit(StrEnum):
    """What becomes of the rules' files. All but the first is mended a moment later, by another edition."""

    REWORDED = "every rule has another version"
    RULE_GONE = "one rule is not there"
    NOT_YAML = "the file is no YAML any more"
    ONE_RULE_WRONG = "one rule of the file has a key that there is none of, the others are well"
    EMPTY = "there is nothing in the file"
    GONE = "the folder is gone"


class Garbling(StrEnum):
    """What is wrong with a body: first where nothing of it can be read, then where one alert of it cannot, and at the
    end what is mended."""

    CUT = "it ends in the middle"
    NO_LIST = "it has no alerts"
    OTHER_VERSION = "it is of another version"
    NO_TEXT = "it is no text"
    LIKE_COMPRESSED = "it begins as what we compress ourselves"
    TOO_DEEP = "lists in lists in lists"
    NO_LABELS = "an alert has no labels"
    NO_MOMENT = "an alert started yesterday"
    NO_OBJECT = "an alert is a number"
    UNKNOWN_STATUS = "an alert is neither firing nor resolved"
    NUMBER_AS_LABEL = "an alert's label is a number"
    HALF_A_CHARACTER = "a text has half a character"
    NO_UTF8 = "a text is no UTF-8"


class PeerFault(StrEnum):
    """How a peer answers who polls it."""

    ERRORS = "500"
    HANGS = "nothing for a while, then it hangs up"
    LATE = "late, what it saw when it was asked"
    TORN = "half a list"
    DOWN = "it hangs up at once"
    RESTARTS = "nothing fires, until it has been told again"


class Response(StrEnum):
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"


@dataclass(frozen=True, slots=True)
class Fault:
    mark: Mark
    occurrence: int
    how: How


@dataclass(frozen=True, slots=True)
class Alarm:
    """One alert's life, in seconds from the start of the story. Some end by themselves when they are fixed."""

    trouble: Trouble
    fires_at: float
    ends_at: float | None
    fires_again_at: float | None
    has_twin: bool = False
    """A second alert about the same workload, a moment later: both are one incident."""


@dataclass(frozen=True, slots=True)
class Person:
    """Does something to whichever incident is open then, and insists until it is answered."""

    at: float
    does: Response


@dataclass(frozen=True, slots=True)
class Garbled:
    at: float
    what: Garbling


@dataclass(frozen=True, slots=True)
class Edited:
    after: float
    """Seconds since the one before is over."""
    edit: Edit
    lasts: float
    """Until it is mended."""
    is_told: bool
    """By SIGHUP; else whoever looks finds it."""


@dataclass(frozen=True, slots=True)
class Gust:
    """The sessions by which the daemons watch the database are ended, and a share of the others; for a moment no new
    ones are let in. Who watches takes it for lost, and drops what he has left, under whatever statement it is in."""

    at: float
    share: float
    shut_for: float


@dataclass(frozen=True, slots=True)
class Storm:
    """Gusts, while alerts pour in."""

    seconds: float
    gusts: tuple[Gust, ...]
    """In their order."""
    prepares_anew: bool
    """As behind a pooler that keeps no statements: each has one more step at which its connection can be lost."""


@dataclass(frozen=True, slots=True)
class PeerTrouble:
    peer: int
    fault: PeerFault
    begins_at: float
    ends_at: float


@dataclass(frozen=True, slots=True)
class Silence:
    """At the peers: they tell nobody of the alarm, and list it as suppressed."""

    alarm: int
    begins_at: float
    ends_at: float
    lag: float
    """So much later the second peer hears of its beginning and of its end."""


@dataclass(frozen=True, slots=True)
class Polling:
    """The daemons ask both peers what fires: then webhooks need not tell everything, and here they do not."""

    losses: tuple[Loss, ...]
    """Of each alarm."""
    known_to: tuple[tuple[int, ...], ...]
    """The peers that hear of each alarm."""
    swallows: float
    """So many of all webhooks are lost where their sender takes them for delivered."""
    troubles: tuple[PeerTrouble, ...]
    silences: tuple[Silence, ...]


@dataclass(frozen=True, slots=True)
class Scenario:
    seed: int
    replicas: int
    faults: tuple[Fault, ...]
    """One for each life of a replica; lives after the last have none."""
    strikes_all: bool
    """Every replica has the faults, else the first one alone."""
    mode: Mode
    """The ceiling."""
    waits_for_leases: bool
    """Leases of incidents run out in their own time, else the database is told that those of the dead have. Where one
    is frozen they always do: it goes by its own lease when it comes back."""
    alarms: tuple[Alarm, ...]
    people: tuple[Person, ...]
    wire: Wire
    gossips: bool
    grouped_by: tuple[str, ...]
    max_alerts: int
    peer_restarts_at: float | None
    database: DatabaseFault | None
    database_at: float
    storm: Storm | None
    garbled: tuple[Garbled, ...]
    edits: tuple[Edited, ...]
    """One after the other."""
    pager: PagerFault | None
    api_errors: int
    """So many writes of each kind to the cluster are answered with a 500, and are not done."""
    api_hang_ups: int
    """So many are done, and the connection is cut instead of an answer."""
    api_hides: int
    """So many more are done and cut off, and who looks then what became of them gets no answer either."""
    guards_pods: bool
    """A disruption budget refuses evictions: a failing pod is deleted instead."""
    clock_hours: tuple[float, ...]
    """How wrong the clock of each replica's machine is."""
    hours_pass_at: float | None
    """Then every wait of the chains is over, that for whoever acknowledged too."""
    polling: Polling | None
    kill_switch: tuple[float, float] | None
    """When it is thrown, and when it is lifted."""

    @property
    def hangs_database(self) -> bool:
        return self.database in HANGS

    @property
    def troubles_database(self) -> bool:
        return self.database is not None or self.storm is not None

    @property
    def needs_own_database(self) -> bool:
        """What it does to the server would befall its neighbours too."""
        return self.database in {DatabaseFault.CRASH, DatabaseFault.RESTART}
