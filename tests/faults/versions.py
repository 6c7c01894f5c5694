"""What must hold of the rules where they change: a set is in force whole or not at all, and an incident keeps its own.

Pure, as `invariants`.
"""

from collections.abc import Iterator

from tests.faults.books import Row
from tests.faults.evidence import Evidence
from tests.faults.rules import summary_of
from tests.faults.violations import Kind, Violation


def versions(evidence: Evidence) -> Iterator[Violation]:
    yield from _in_force(evidence)
    yield from _kept(evidence)
    yield from _latest(evidence)


def _in_force(evidence: Evidence) -> Iterator[Violation]:
    """Each incident was opened by an edition that could be read, and that was there."""
    editions = {summary_of(edition.number): edition for edition in evidence.editions}
    for incident in evidence.books.incidents:
        edition = editions[_summary(incident, evidence)]
        if not edition.is_sound:
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
