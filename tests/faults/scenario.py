"""What goes wrong in one seed: drawn whole before anything runs, so that a seed can be told and run again."""

from dataclasses import dataclass
from enum import StrEnum
from random import Random

from remediator.domain.mode import Mode
from remediator.marks import Mark
from tests.fakes.alertmanager_peers import Wire
from tests.faults.daemon import How

MARKS = tuple(Mark)
_RARE = frozenset(
    {
        Mark.INTENT_WRITTEN,
        Mark.WRITE_BEGINS,
        Mark.WRITE_CONNECTED,
        Mark.WRITE_DONE,
        Mark.RESPONSE_WRITTEN,
        Mark.RESPONSE_COMMITTED,
    }
)
"""Reached once or twice in a seed; the others many times."""
POLLED = 0.3
"""The share of the seeds in which the peers are asked as well."""
SILENCED = 0.25
"""Of their alarms, the share that somebody silences at the peers for a while."""
LEASE_SECONDS = 5
"""Where leases run out in their own time."""
FROZEN_SECONDS = 6.5
"""How long a SIGSTOP lasts."""


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


_FIXABLE = (Trouble.REPLACE, Trouble.RESTART, Trouble.SCALE)


class DatabaseFault(StrEnum):
    CONNECTIONS = "its connections are cut"
    CRASH = "one backend is killed with -9, the server recovers"
    RESTART = "it is restarted with -m immediate"
    HANGS = "nothing comes through to it, and then what was said meanwhile does"
    HANGS_UNTIL_CUT = "nothing comes through to it, and then the connections are cut"


_AT_ONCE = (DatabaseFault.CONNECTIONS, DatabaseFault.CRASH, DatabaseFault.RESTART)
_HANGS = (DatabaseFault.HANGS, DatabaseFault.HANGS_UNTIL_CUT)
SWITCHED = 0.2
"""The share of the seeds in which somebody throws the kill switch, and lifts it again."""
OBSERVED, SUGGESTED = 0.06, 0.06
"""The shares of the seeds in which nothing may be changed, and nothing without a person's yes."""
GARBLED = 0.15
"""The share of the seeds in which somebody sends what cannot be read."""
EDITED = 0.12
"""The share of the seeds in which the rules change while they are in force."""
STORMED = 0.12
"""The share of the seeds in which connections are dropped in bursts while alerts pour in."""
HUNG = 0.06
"""The share of the seeds in which it does: such a seed takes twice as long."""


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
    """Some of the daemons' sessions are ended, and no new ones are let in for a moment: whose watch is among them takes
    the database for lost and drops the others himself, under whatever statement they are in."""

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
        return self.database in _HANGS

    @property
    def troubles_database(self) -> bool:
        return self.database is not None or self.storm is not None

    @property
    def needs_own_database(self) -> bool:
        """What it does to the server would befall its neighbours too."""
        return self.database in {DatabaseFault.CRASH, DatabaseFault.RESTART}


def draw(seed: int) -> Scenario:
    """Marks go round with the seeds, so that as many in a row as there are marks have each of them once."""
    random = Random(seed)  # noqa: S311  # repeatable, guards nothing
    mark, turn = MARKS[seed % len(MARKS)], seed // len(MARKS)
    how = How.STOP if turn % 4 == 3 else How.KILL
    first = Fault(mark, 1 if turn % 2 == 0 or mark in _RARE else random.randint(1, 3), how)
    second = Fault(random.choice(MARKS), random.randint(1, 4), How.END if turn % 2 else How.KILL)
    replicas = random.choice((1, 1, 2, 2, 3))
    return Scenario(
        seed=seed,
        replicas=replicas,
        faults=(first, second) if random.random() < 0.4 else (first,),
        strikes_all=mark in _RARE or random.random() < 0.6,
        mode=Mode.ACT if mark in _RARE else _mode(_apart(seed, "mode")),
        waits_for_leases=how is How.STOP or (mark not in _RARE and random.random() < 0.05),
        alarms=(alarms := _alarms(random)),
        people=_people(random, mark),
        wire=Wire(random.choice((0, 0.1, 0.3)), random.choice((0, 0.1, 0.3)), random.choice((0.02, 0.3, 0.9))),
        gossips=random.random() < 0.5,
        grouped_by=random.choice((("alertname",), ("namespace",), ("alertname", "deployment"))),
        max_alerts=random.choice((0, 0, 0, 2)),
        peer_restarts_at=random.uniform(0.5, 2) if random.random() < 0.3 else None,
        database=(
            database := _hang(_apart(seed, "hang")) or (random.choice(_AT_ONCE) if random.random() < 0.25 else None)
        ),
        database_at=random.uniform(0.2, 2.5),
        storm=_storm(_apart(seed, "storm"), hangs=database in _HANGS),
        garbled=_garbled(_apart(seed, "garbled")),
        edits=_edits(_apart(seed, "edits")),
        pager=random.choice(tuple(PagerFault)) if random.random() < 0.3 else None,
        api_errors=0 if mark is Mark.WRITE_DONE else random.choice((0, 0, 0, 1, 2)),
        api_hang_ups=0 if mark is Mark.WRITE_DONE else random.choice((0, 0, 0, 1)),
        api_hides=0 if mark is Mark.WRITE_DONE else _hides(_apart(seed, "hides")),
        guards_pods=random.random() < 0.3,
        clock_hours=tuple(random.choice((0, 0, 0, -1, 1)) for _ in range(replicas)),
        hours_pass_at=random.uniform(2, 4) if random.random() < 0.5 else None,
        polling=_polling(_apart(seed, "polling"), len(alarms), _apart(seed, "silences")),
        kill_switch=None if mark in _RARE else _kill_switch(_apart(seed, "kill switch")),
    )


def _alarms(random: Random) -> tuple[Alarm, ...]:
    """Always one to fix and one to page about that do not end by themselves, so that every mark can be reached."""
    lasting = [random.choice(_FIXABLE), random.choice((Trouble.HOPELESS, Trouble.LOOK))]
    others = random.choices(tuple(Trouble), k=random.randint(0, 3))
    return (
        *(Alarm(trouble, random.uniform(0, 0.5), None, None) for trouble in lasting),
        *(_alarm(random, trouble) for trouble in others),
    )


def _alarm(random: Random, trouble: Trouble) -> Alarm:
    fires_at = random.uniform(0, 0.5)
    ends_at = fires_at + random.uniform(0.1, 2.5) if random.random() < 0.4 else None
    again = ends_at + random.uniform(0.05, 1) if ends_at is not None and random.random() < 0.5 else None
    return Alarm(trouble, fires_at, ends_at, again, has_twin=random.random() < 0.3)


def _people(random: Random, mark: Mark) -> tuple[Person, ...]:
    if mark not in {Mark.RESPONSE_WRITTEN, Mark.RESPONSE_COMMITTED} and random.random() < 0.6:
        return ()
    return tuple(
        Person(random.uniform(0.3, 2.5), random.choice((Response.ACKNOWLEDGE, Response.ACKNOWLEDGE, Response.RESOLVE)))
        for _ in range(random.randint(1, 3))
    )


def _apart(seed: int, what: str) -> Random:
    """What is drawn from it leaves the rest of the scenario as it was."""
    return Random(f"{seed}: {what}")  # noqa: S311  # repeatable, guards nothing


def _mode(random: Random) -> Mode:
    act = 1 - OBSERVED - SUGGESTED
    return random.choices((Mode.OBSERVE, Mode.SUGGEST, Mode.ACT), (OBSERVED, SUGGESTED, act))[0]


def _kill_switch(random: Random) -> tuple[float, float] | None:
    """So early that something is stopped, and short enough for the rest to be done."""
    if random.random() >= SWITCHED:
        return None
    thrown_at = random.uniform(0, 1.5)
    return thrown_at, thrown_at + random.uniform(0.3, 2.5)


def _hides(random: Random) -> int:
    return random.choice((0, 0, 0, 1))


def _hang(random: Random) -> DatabaseFault | None:
    return random.choice(_HANGS) if random.random() < HUNG else None


def _garbled(random: Random) -> tuple[Garbled, ...]:
    if random.random() >= GARBLED:
        return ()
    return tuple(Garbled(random.uniform(0, 2.5), random.choice(tuple(Garbling))) for _ in range(random.randint(4, 12)))


def _edits(random: Random) -> tuple[Edited, ...]:
    if random.random() >= EDITED:
        return ()
    return tuple(
        Edited(random.uniform(0, 1.5), random.choice(tuple(Edit)), random.uniform(0.3, 2), random.random() < 0.7)
        for _ in range(random.randint(1, 3))
    )


def _storm(random: Random, *, hangs: bool) -> Storm | None:
    """None where nothing comes through either: there a connection that is dropped says nothing."""
    if hangs or random.random() >= STORMED:
        return None
    gusts = (_gust(random) for _ in range(random.randint(6, 12)))
    return Storm(4, tuple(sorted(gusts, key=lambda gust: gust.at)), random.random() < 0.7)


def _gust(random: Random) -> Gust:
    return Gust(random.uniform(0.2, 3.8), random.choice((0.3, 0.6, 1)), random.choice((0, 0.05, 0.2)))


def _polling(random: Random, alarms: int, silencing: Random) -> Polling | None:
    if random.random() >= POLLED:
        return None
    return Polling(
        losses=tuple(random.choice(tuple(Loss)) for _ in range(alarms)),
        known_to=tuple(random.choice(((0, 1), (0,), (1,))) for _ in range(alarms)),
        swallows=random.choice((0, 0.2, 0.5)),
        troubles=tuple(_trouble(random, peer) for peer in (0, 1) if random.random() < 0.8),
        silences=_silences(silencing, alarms),
    )


def _silences(random: Random, alarms: int) -> tuple[Silence, ...]:
    return tuple(_silence(random, alarm) for alarm in range(alarms) if random.random() < SILENCED)


def _silence(random: Random, alarm: int) -> Silence:
    begins_at = random.uniform(0, 1.5)
    return Silence(alarm, begins_at, begins_at + random.uniform(0.5, 3), random.choice((0, 0.3, 1)))


def _trouble(random: Random, peer: int) -> PeerTrouble:
    begins_at = random.uniform(0, 2)
    return PeerTrouble(peer, random.choice(tuple(PeerFault)), begins_at, begins_at + random.uniform(1.5, 4))
