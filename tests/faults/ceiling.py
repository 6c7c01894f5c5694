"""What must hold of how far we go, whatever broke. Pure, as `invariants`.

In `observe` nothing is changed and nobody is woken; in `suggest` somebody has said yes to each plan.
"""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from remediator.domain.mode import Mode
from remediator.domain.plan import Plan
from tests.faults.books import Row
from tests.faults.evidence import Evidence
from tests.faults.scenario import Trouble
from tests.faults.violations import Kind, Violation
from tests.faults.writes import called, rule_of


def ceiling(evidence: Evidence) -> Iterator[Violation]:
    if evidence.mode is Mode.OBSERVE:
        yield from _dry(evidence)
    else:
        yield from _approved(evidence)


def _dry(evidence: Evidence) -> Iterator[Violation]:
    for intent in evidence.books.intents:
        yield Violation(Kind.OTHER, f"{called(intent)} was begun in observe mode")
    for write in evidence.writes:
        yield Violation(Kind.OTHER, f"it was written in observe mode: {write.method} {write.path}")
    for arrival in evidence.arrivals:
        if arrival.kind != "review" or not arrival.title.startswith("[dry run]"):
            what = f"somebody was told of incident {arrival.incident} as if it were no dry run"
            yield Violation(Kind.OTHER, f"{what}: {arrival.title!r}")


def _approved(evidence: Evidence) -> Iterator[Violation]:
    """The very plan, before it was begun. What takes a fix back needs no yes."""
    for intent in evidence.books.intents:
        wants_a_yes = evidence.mode is Mode.SUGGEST or rule_of(intent, evidence) == Trouble.APPROVED.lower()
        if wants_a_yes and intent["undoes"] is None and not _is_approved(intent, evidence):
            yield Violation(
                Kind.OTHER, f"{called(intent)} was begun in {evidence.mode} mode, and nobody had said yes to it"
            )


def _is_approved(intent: Row, evidence: Evidence) -> bool:
    plan = msgspec.convert(intent["plan"], Plan).digest
    return any(said <= intent["begun_at"] for said in _said_yes(intent["incident_id"], plan, evidence))


def _said_yes(incident: int, plan: str, evidence: Evidence) -> list[datetime]:
    """When somebody did, to that very plan."""
    return [
        row["at"]
        for row in evidence.books.timeline
        if row["incident_id"] == incident
        and row["kind"] == "approval"
        and row["message"].startswith(f"plan {plan} approved by ")
    ]


def approvals(evidence: Evidence) -> Iterator[Violation]:
    """Whoever was told that their yes counts has been heard."""
    for yes in evidence.approved:
        if not _said_yes(yes.incident, yes.plan, evidence):
            what = f"plan {yes.plan} of incident {yes.incident} was approved with a 200"
            yield Violation(Kind.LOST, f"{what}, and the timeline does not say so")
