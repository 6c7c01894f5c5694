"""What must hold of the rules where they change: a set is in force whole or not at all, and an incident keeps its own.

Pure, as `invariants`.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from tests.faults.books import Row
from tests.faults.evidence import Evidence
from tests.faults.rules import summary_of
from tests.faults.violations import Kind, Violation

FOUND_WITHIN = timedelta(seconds=14)
"""Files are looked at every ten seconds."""
_BEGINS_WITHIN = timedelta(seconds=10)
"""From a daemon's birth until it has read the rules, on a busy machine."""


def versions(evidence: Evidence) -> Iterator[Violation]:
    yield from _in_force(evidence)
    yield from _kept(evidence)
    yield from _latest(evidence)


def nobodys(evidence: Evidence) -> list[str]:
    """What fires and somebody took in who worked without its rule: it is found within a minute of the mending."""
    return [
        f"nobody works on episode {row['id']} yet"
        for row in evidence.books.episodes
        if row["incident_id"] is None and row["closed_at"] is None and is_without_rule(row, evidence)
    ]


def is_without_rule(episode: Row, evidence: Evidence) -> bool:
    """Whoever took it in may have worked without its rule."""
    times = _times_without(episode["labels"]["alertname"].lower(), evidence)
    return any(since <= episode["opened_at"] <= until for since, until in times)


def _times_without(rule: str, evidence: Evidence) -> list[tuple[datetime, datetime]]:
    """Where it is wrong, only if somebody began then."""
    following = [edition.at for edition in evidence.editions[1:]] + [evidence.books.now]
    return [
        (edition.at, until + FOUND_WITHIN)
        for edition, until in zip(evidence.editions, following, strict=True)
        if rule and edition.lacks == rule and (edition.is_sound or _is_born(edition.at, until, evidence))
    ]


def _is_born(since: datetime, until: datetime, evidence: Evidence) -> bool:
    return any(since - _BEGINS_WITHIN <= born <= until for born in evidence.births)


def _in_force(evidence: Evidence) -> Iterator[Violation]:
    """Each incident was opened by an edition that could be read, and that was there."""
    editions = {summary_of(edition.number): edition for edition in evidence.editions}
    for incident in evidence.books.incidents:
        edition = editions[_summary(incident, evidence)]
        if not edition.is_sound and not _times_without(edition.lacks, evidence):
            yield Violation(Kind.OTHER, f"{_called(incident)} was opened by edition {edition.number}, which is broken")
        if incident["opened_at"] < edition.at:
            yield Violation(Kind.OTHER, f"{_called(incident)} was opened before there was edition {edition.number}")


def _kept(evidence: Evidence) -> Iterator[Violation]:
    for incident in evidence.books.incidents:
        if evidence.begun_with[incident["id"]] != incident["rule_version"]:
            yield Violation(Kind.OTHER, f"{_called(incident)} goes on by another version of its rule")


def _latest(evidence: Evidence) -> Iterator[Violation]:
    """Everybody works by it, once there was time to find it."""
    incidents = {incident["id"]: incident for incident in evidence.books.incidents}
    opened = {episode["fingerprint"]: episode["incident_id"] for episode in evidence.books.episodes}
    for knock in evidence.knocks:
        incident = incidents.get(opened.get(knock.fingerprint))
        if incident is not None and _summary(incident, evidence) != summary_of(knock.edition):
            found = _summary(incident, evidence)
            yield Violation(Kind.OTHER, f"{knock.at} works by {found}, and {summary_of(knock.edition)} is in force")


def _summary(incident: Row, evidence: Evidence) -> str:
    return evidence.books.summaries[incident["rule_version"]]


def _called(incident: Row) -> str:
    return f"incident {incident['id']} of rule {incident['rule']}"
