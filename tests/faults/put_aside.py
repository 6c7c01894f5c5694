"""What must hold of what cannot be read, bodies or alerts in them, and of its neighbours. Pure, as `invariants`."""

from collections import Counter
from collections.abc import Iterator

from tests.faults.evidence import Evidence
from tests.faults.violations import Kind, Violation

_NOT_NOW = 503
_SHOWN = 80
"""Bytes of a body."""


def put_aside(evidence: Evidence) -> Iterator[Violation]:
    yield from _answers(evidence)
    yield from _kept(evidence)
    yield from _made_up(evidence)
    yield from _neighbours(evidence)


def _answers(evidence: Evidence) -> Iterator[Violation]:
    """2xx for what can be read in part, 400 for what cannot at all; whoever shall send it again is told 503."""
    for sent in evidence.sent:
        for status in sorted(sent.answers.keys() - {sent.promised, _NOT_NOW}):
            yield Violation(Kind.OTHER, f"answered {status}, not {sent.promised}: {_shown(sent.body)}")
        for stored, rejected in sent.receipts:
            if (stored, rejected) != (sent.readable, len(sent.broken)):
                what = f"{sent.readable} alerts can be read and {len(sent.broken)} cannot"
                yield Violation(Kind.OTHER, f"{what}; told: {stored} and {rejected}: {_shown(sent.body)}")


def _kept(evidence: Evidence) -> Iterator[Violation]:
    """Exactly as it was sent, as often as it was answered for good, and no oftener than it was sent."""
    rows = Counter((row["position"], row["raw"]) for row in evidence.books.quarantine)
    bodies = Counter(evidence.books.partly_read)
    for sent in evidence.sent:
        for broken in sent.broken:
            times = rows[broken.position, broken.raw]
            if not sent.kept <= times <= sent.attempts:
                what = (
                    f"sent {sent.attempts} times, answered {sent.promised} {sent.kept} times, put aside {times} times"
                )
                kind = Kind.LOST if times < sent.kept else Kind.DOUBLED
                yield Violation(kind, f"{what}: {_shown(broken.raw)}")
        if sent.broken and sent.promised != 400 and bodies[sent.body] < sent.kept:
            yield Violation(Kind.LOST, f"accepted {sent.kept} times and not kept as it was sent: {_shown(sent.body)}")


def _made_up(evidence: Evidence) -> Iterator[Violation]:
    """Nothing readable and sound is ever put aside: there is only what was sent broken."""
    known = {(broken.position, broken.raw) for sent in evidence.sent for broken in sent.broken}
    for row in evidence.books.quarantine:
        if (row["position"], row["raw"]) not in known:
            yield Violation(Kind.LOST, f"put aside, and nobody sent it broken: {row['reason']}: {_shown(row['raw'])}")


def _neighbours(evidence: Evidence) -> Iterator[Violation]:
    """What can be read of an accepted body is there, once. The end of what was lost would be an episode of no
    length."""
    times = Counter(evidence.books.unwanted)
    begun = {row["fingerprint"] for row in evidence.books.episodes if row["opened_at"] != row["closed_at"]}
    for sent in evidence.sent:
        for fingerprint in sent.unwanted if sent.kept else ():
            if not times[fingerprint]:
                yield Violation(Kind.LOST, f"{fingerprint} was accepted and is nowhere: {_shown(sent.body)}")
        for fingerprint in sent.wanted if sent.kept else ():
            if fingerprint not in begun:
                yield Violation(Kind.LOST, f"{fingerprint} was accepted and never began: {_shown(sent.body)}")
    for fingerprint, count in times.items():
        if count > 1:
            yield Violation(Kind.DOUBLED, f"{fingerprint} fired once and has {count} episodes")


def _shown(raw: bytes) -> str:
    return repr(raw[:_SHOWN])
