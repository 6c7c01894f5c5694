"""What must hold between what really fires and what is believed of it, however it was heard. Pure, as `invariants`."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from tests.fakes.alertmanager_peers import Told
from tests.faults.books import Row
from tests.faults.evidence import Evidence
from tests.faults.polling import Poll
from tests.faults.violations import Kind, Violation

ENOUGH_POLLS = 12
"""Of one peer: of some the answer went to a replica that was killed or frozen with it in its hands."""
POLLED = "alertmanager"
"""The source whose peers are asked, if any are."""
_PEERS = (0, 1)
_MAY_WAIT = timedelta(seconds=2)
"""What has only just begun its sender may keep to itself: its group_wait, and a second that its clock does not tell."""


@dataclass(frozen=True, slots=True)
class Gap:
    """What the polls have told, and nobody believes yet."""

    what: str
    polls: int
    """How often they have told it."""
    goes_on: bool = True
    """Whether they tell it still."""


def believed(evidence: Evidence) -> Iterator[Violation]:
    for gap in gaps(evidence):
        if gap.polls >= ENOUGH_POLLS:
            yield Violation(Kind.LOST, f"{gap.what}, as {gap.polls} polls told")
    yield from _made_up(evidence)
    yield from _closed_too_soon(evidence)
    yield from _opened_twice(evidence)


def gaps(evidence: Evidence) -> Iterator[Gap]:
    for firing in evidence.firings:
        known = [row for row in evidence.books.episodes if row["fingerprint"] == firing.fingerprint]
        if not any(_covers(row, firing) for row in known):
            what = f"{firing.fingerprint} fired at {firing.starts_at} and is nowhere"
            yield Gap(what, _listing(firing, evidence), goes_on=firing.is_firing)
    latest = {firing.fingerprint: firing for firing in evidence.firings}
    for row in evidence.books.episodes:
        last = latest.get(row["fingerprint"])
        if row["closed_at"] is None and row["is_listed"] and last is not None and not last.is_firing:
            what = f"{last.fingerprint} ended at {last.ends_at} and episode {row['id']} is open"
            yield Gap(what, _missing(last, evidence))
        if row["closed_at"] is None and row["suppressed_by"]:
            yield Gap(f"episode {row['id']} is held by a silence that is over", _audible(row, evidence))
        if row["closed_at"] is None and not row["is_listed"]:
            fires = last is not None and last.is_firing and row["source"] == POLLED
            yield Gap(f"episode {row['id']} is taken for nobody's we ask", _listed_since(row, evidence), goes_on=fires)


def _covers(episode: Row, firing: Told) -> bool:
    """What fires still needs an open one."""
    if episode["closed_at"] is None:
        return True
    return firing.ends_at is not None and episode["ends_at"] is not None and episode["ends_at"] >= firing.starts_at


def _listing(firing: Told, evidence: Evidence) -> int:
    """One peer's word is enough, unless it has just started and an older one knows better."""
    since, key = firing.starts_at + _MAY_WAIT, firing.fingerprint
    silent = max((poll.at for poll in evidence.polls if key in poll.suppressed and not poll.is_young), default=since)
    told = Counter(
        poll.peer
        for poll in evidence.polls
        if poll.at >= (max(since, silent) if poll.is_young else since) and _lists(poll, firing)
    )
    return max(told.values(), default=0)


def is_over_unheard(episode: Row, evidence: Evidence) -> bool:
    """Nobody has told that it ended, and it ended before any peer had listed it: then polls do not end it."""
    if not evidence.polls or episode["source"] != POLLED or episode["is_listed"]:
        return False
    ends = (
        alert.ends_at
        for delivery in evidence.deliveries
        if delivery.is_accepted
        for alert in delivery.alerts
        if alert.fingerprint == episode["fingerprint"]
    )
    return not any(end is not None and end >= episode["starts_at"] for end in ends)


def _listed_since(episode: Row, evidence: Evidence) -> int:
    told = Counter(
        poll.peer for poll in evidence.polls if poll.at > episode["opened_at"] and episode["fingerprint"] in poll.listed
    )
    return max(told.values(), default=0)


def _missing(firing: Told, evidence: Evidence) -> int:
    """Both must miss it, and neither may be too young to know."""
    told = Counter(
        poll.peer
        for poll in evidence.polls
        if _is_later(poll, firing) and firing.fingerprint not in poll.listed and not poll.is_young
    )
    return min(told[peer] for peer in _PEERS)


def _audible(episode: Row, evidence: Evidence) -> int:
    """One peer's word is enough, once no other knows of a silence any more."""
    key = episode["fingerprint"]
    silent = max((poll.at for poll in evidence.polls if key in poll.suppressed), default=episode["opened_at"])
    told = Counter(poll.peer for poll in evidence.polls if poll.at > silent and key in poll.listed)
    return max(told.values(), default=0)


def _lists(poll: Poll, firing: Told) -> bool:
    """What is suppressed there, nobody need be told of."""
    is_told = firing.fingerprint in poll.listed - poll.suppressed
    return is_told and not _is_later(poll, firing)


def _is_later(poll: Poll, firing: Told) -> bool:
    return firing.ends_at is not None and poll.at > firing.ends_at


def _made_up(evidence: Evidence) -> Iterator[Violation]:
    """Nobody is told of what never fired."""
    fired = {(firing.fingerprint, firing.starts_at) for firing in evidence.firings}
    for row in evidence.books.episodes:
        if (row["fingerprint"], row["starts_at"]) not in fired:
            yield Violation(Kind.OTHER, f"episode {row['id']} begins at {row['starts_at']}, when nothing did")
        if row["is_listed"] and not any(row["fingerprint"] in poll.listed for poll in evidence.polls):
            yield Violation(Kind.OTHER, f"episode {row['id']} is taken for listed, and no peer has listed it")
    for incident in sorted({arrival.incident for arrival in evidence.arrivals}):
        if not evidence.books.alerts_of(incident):
            yield Violation(Kind.OTHER, f"somebody was told of incident {incident}, and no alert belongs to it")


def _closed_too_soon(evidence: Evidence) -> Iterator[Violation]:
    """No peer that is down, has just started or never heard of an alert ends what fires."""
    for row in evidence.books.episodes:
        for firing in evidence.firings:
            if row["fingerprint"] == firing.fingerprint and _is_cut_short(row, firing):
                yield Violation(Kind.LOST, f"episode {row['id']} was closed at {row['closed_at']}, and it fired on")


def _is_cut_short(episode: Row, firing: Told) -> bool:
    closed_at = episode["closed_at"]
    if closed_at is None or firing.starts_at > episode["starts_at"]:
        return False
    return firing.ends_at is None or firing.ends_at > closed_at


def _opened_twice(evidence: Evidence) -> Iterator[Violation]:
    """Whoever told of it first. An end that came before its start is kept as an episode of no length."""
    began = Counter(
        (row["fingerprint"], row["starts_at"])
        for row in evidence.books.episodes
        if row["opened_at"] != row["closed_at"]
    )
    for (fingerprint, starts_at), count in began.items():
        if count > 1:
            yield Violation(Kind.DOUBLED, f"{fingerprint} fired once at {starts_at} and has {count} episodes")
