"""A seed's scenario: the same whenever it is drawn, so that a seed can be told and run again."""

from collections.abc import Sequence
from random import Random

from remediator.domain.mode import Mode
from remediator.marks import Mark
from tests.fakes.alertmanager_peers import Wire
from tests.faults.daemon import How
from tests.faults.rules import MISSED
from tests.faults.scenario import (
    HANGS,
    MARKS,
    Alarm,
    DatabaseFault,
    Edit,
    Edited,
    Fault,
    Garbled,
    Garbling,
    Gust,
    Loss,
    PagerFault,
    PeerFault,
    PeerTrouble,
    Person,
    Polling,
    Response,
    Scenario,
    Silence,
    Storm,
    Trouble,
)

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
_FIXABLE = (Trouble.REPLACE, Trouble.RESTART, Trouble.SCALE)
_AT_ONCE = (DatabaseFault.CONNECTIONS, DatabaseFault.CRASH, DatabaseFault.RESTART)
SWITCHED = 0.2
"""The share of the seeds in which somebody throws the kill switch, and lifts it again."""
OBSERVED, SUGGESTED = 0.06, 0.06
"""The shares of the seeds in which nothing may be changed, and nothing without a person's yes."""
GARBLED = 0.15
"""The share of the seeds in which somebody sends what cannot be read."""
EDITED = 0.12
"""The share of the seeds in which the rules change while they are in force."""
MISSED_AT_FIRST = 0.3
"""Of those whose alarms want it, the share in which one rule is gone when they fire: that is noticed in a minute."""
STORMED = 0.12
"""The share of the seeds in which sessions of the database are ended in gusts while alerts pour in."""
HUNG = 0.06
"""The share of the seeds in which the database hangs: such a seed takes twice as long."""


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
        storm=_storm(_apart(seed, "storm"), hangs=database in HANGS),
        garbled=_garbled(_apart(seed, "garbled")),
        edits=_edits(_apart(seed, "edits"), _apart(seed, "a rule that comes late"), alarms),
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
    return random.choice(HANGS) if random.random() < HUNG else None


def _garbled(random: Random) -> tuple[Garbled, ...]:
    if random.random() >= GARBLED:
        return ()
    return tuple(Garbled(random.uniform(0, 2.5), random.choice(tuple(Garbling))) for _ in range(random.randint(4, 12)))


def _edits(random: Random, late: Random, alarms: Sequence[Alarm]) -> tuple[Edited, ...]:
    if random.random() >= EDITED:
        return ()
    edits = tuple(
        Edited(random.uniform(0, 1.5), random.choice(tuple(Edit)), random.uniform(0.3, 2), random.random() < 0.7)
        for _ in range(random.randint(1, 3))
    )
    is_missed = any(alarm.trouble is MISSED for alarm in alarms) and late.random() < MISSED_AT_FIRST
    return (Edited(0, Edit.RULE_GONE, late.uniform(1, 2), is_told=True), *edits) if is_missed else edits


def _storm(random: Random, *, hangs: bool) -> Storm | None:
    """None where nothing comes through either: there a connection that is dropped says nothing."""
    if hangs or random.random() >= STORMED:
        return None
    gusts = (_gust(random) for _ in range(random.randint(6, 12)))
    return Storm(4, tuple(sorted(gusts, key=lambda gust: gust.at)), random.random() < 0.7)


def _gust(random: Random) -> Gust:
    return Gust(random.uniform(0.2, 3.8), random.choice((0, 0, 0.3, 1)), random.choice((0, 0.1, 0.4)))


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
