"""What must hold whatever broke. Pure: evidence in, violations out, each with the promise that it breaks."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from itertools import chain
from typing import Any

import msgspec

from remediator.clients.kubernetes.writer import marked
from remediator.domain.ids import IntentId
from tests.fakes.kubernetes import Recorded
from tests.faults.evidence import Evidence, Row
from tests.faults.rules import BUDGET, CHANNELS
from tests.faults.scenario import PagerFault, Response

BETWEEN_FENCE_AND_WRITE = timedelta(seconds=2)
"""What lies between the last look at our own state and the request: a slow machine, never a lost lease."""


class Kind(StrEnum):
    LOST = "lost"
    DOUBLED = "doubled"
    OTHER = "other violations"


@dataclass(frozen=True, slots=True)
class Violation:
    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.what}"


def at_rest(evidence: Evidence) -> list[Violation]:
    """When nothing moves any more, and some alerts may still fire."""
    return list(
        chain(
            _episodes(evidence),
            _people_reached(evidence),
            _pages(evidence),
            _writes(evidence),
            _intents(evidence),
            _responses(evidence),
            _fences(evidence),
        )
    )


def at_the_end(evidence: Evidence) -> list[Violation]:
    """When the last truthful notification has told that everything has resolved."""
    books = evidence.books
    open_episodes = (
        Violation(Kind.OTHER, f"episode {row['id']} of {row['fingerprint']} is still open")
        for row in books.episodes
        if row["closed_at"] is None
    )
    open_incidents = (
        Violation(Kind.OTHER, f"incident {row['id']} is {row['status']}, {row['phase']}")
        for row in books.incidents
        if row["status"] != "resolved"
    )
    return [*at_rest(evidence), *open_episodes, *open_incidents]


def _episodes(evidence: Evidence) -> Iterator[Violation]:
    rows = evidence.books.episodes
    for delivery in evidence.deliveries:
        if not delivery.is_accepted:
            continue
        for told in delivery.alerts:
            known = [r for r in rows if r["fingerprint"] == told.fingerprint]
            if told.is_firing and not any(r["ends_at"] is None or r["ends_at"] >= told.starts_at for r in known):
                yield Violation(
                    Kind.LOST, f"firing {told.fingerprint} from {told.starts_at} was accepted and is nowhere"
                )
    for key, count in Counter(r["fingerprint"] for r in rows if r["closed_at"] is None).items():
        if count > 1:
            yield Violation(Kind.DOUBLED, f"{count} open episodes of {key}")
    for row in rows:
        if row["incident_id"] is None and row["opened_at"] != row["closed_at"]:
            yield Violation(Kind.LOST, f"episode {row['id']} has a rule and opened no incident")


def _people_reached(evidence: Evidence) -> Iterator[Violation]:
    """Closed, in a person's hands, or on its way to one."""
    for row in evidence.books.incidents:
        is_over = row["status"] == "resolved" or row["acknowledged_by"]
        nobody_could = evidence.inbox.fault is PagerFault.ALL_DEAD and _all_failed(evidence, row["id"])
        if not is_over and not evidence.inbox.pages_about(row["id"]) and not nobody_could:
            yield Violation(Kind.LOST, f"incident {row['id']} ({row['phase']}) is open and nobody was paged")


def _all_failed(evidence: Evidence, incident: int) -> bool:
    states = [row["state"] for row in evidence.books.outbox if row["incident_id"] == incident]
    return bool(states) and set(states) == {"failed"}


def _pages(evidence: Evidence) -> Iterator[Violation]:
    rows = {row["dedup_key"]: row for row in evidence.books.outbox}
    arrived = {arrival.dedup_key for arrival in evidence.inbox.arrivals}
    for key in sorted({arrival.dedup_key for arrival in evidence.arrivals} - rows.keys()):
        yield Violation(Kind.DOUBLED, f"page {key} was sent and nobody ordered it")
    for key, row in rows.items():
        if row["state"] == "sent" and key not in arrived:
            yield Violation(Kind.LOST, f"page {key} is recorded as sent and never arrived")
        gave_up = row["kind"] == "page" and row["state"] == "failed" and row["error"] != "withdrawn"
        if gave_up and not key.endswith(":last-resort"):
            missing = [name for name in CHANNELS if f"{key}:{name}:last-resort" not in rows]
            if missing:
                yield Violation(
                    Kind.LOST, f"page {key} failed, and {', '.join(missing)} was not tried as a last resort"
                )


def _writes(evidence: Evidence) -> Iterator[Violation]:
    """Each write has an intent that was journalled before it, and no intent's call is made twice."""
    made: dict[str, list[Recorded]] = {}
    for write in evidence.writes:
        made.setdefault(_name(write.method, write.path, write.body), []).append(write)
    journalled: dict[str, list[Row]] = {}
    for intent in evidence.books.intents:
        for call in intent["plan"]["calls"]:
            name = _name(call["method"], call["resource"], call["body"])
            journalled.setdefault(name, []).append(intent)
    for name, writes in made.items():
        intents = journalled.get(name, [])
        yield from _calls(name, writes, intents, evidence)


def _calls(name: str, writes: Sequence[Recorded], intents: Sequence[Row], evidence: Evidence) -> Iterator[Violation]:
    """All writes that look the same, and all intents that planned them."""
    effects = [write for write in writes if 200 <= write.answered < 300]
    if len(writes) > len(intents):
        yield Violation(Kind.DOUBLED, f"{len(writes)} requests for {len(intents)} intents: {name}")
    if len(effects) > len([intent for intent in intents if intent["state"] != "failed"]):
        yield Violation(Kind.DOUBLED, f"{len(effects)} effects where all but some intents failed: {name}")
    for write in writes:
        if not any(intent["begun_at"] <= write.at for intent in intents):
            yield Violation(Kind.DOUBLED, f"written at {write.at} before any intent: {name}")
    for write in effects:
        if intents and not any(_was_wanted(intent, write, evidence) for intent in intents):
            yield Violation(Kind.DOUBLED, f"written at {write.at}, after its alert's end was committed: {name}")


def _was_wanted(intent: Row, write: Recorded, evidence: Evidence) -> bool:
    """An undo is wanted whatever its alert does."""
    episodes = [row for row in evidence.books.episodes if row["incident_id"] == intent["incident_id"]]
    return intent["undoes"] is not None or any(
        row["opened_at"] <= write.at
        and (row["closed_at"] is None or write.at <= row["closed_at"] + BETWEEN_FENCE_AND_WRITE)
        for row in episodes
    )


def _intents(evidence: Evidence) -> Iterator[Violation]:
    told = Counter(
        row["data"]["intent"] for row in evidence.books.timeline if row["kind"] in {"fix", "undo"} and row["data"]
    )
    for intent in evidence.books.intents:
        name = f"intent {intent['id']} of incident {intent['incident_id']} ({intent['plan']['summary']})"
        if intent["state"] == "begun":
            yield Violation(Kind.LOST, f"{name} has no result")
        if told[str(intent["id"])] > 1:
            yield Violation(Kind.DOUBLED, f"the result of {name} is told {told[str(intent['id'])]} times")
    spent = Counter[str]()
    for row in evidence.books.reservations:
        spent[row["key"]] += row["units"]
    for key, units in spent.items():
        if units > BUDGET:
            yield Violation(Kind.DOUBLED, f"budget {key}: {units} of {BUDGET} spent")


def _responses(evidence: Evidence) -> Iterator[Violation]:
    incidents = {row["id"]: row for row in evidence.books.incidents}
    for answer in evidence.answered:
        row = incidents[answer.incident]
        holds = row["status"] == "resolved" or (answer.does is Response.ACKNOWLEDGE and row["acknowledged_by"])
        if not holds:
            yield Violation(Kind.LOST, f"incident {answer.incident} was told to {answer.does} with a 200, and is not")


def _fences(evidence: Evidence) -> Iterator[Violation]:
    """What others had closed stays as it was when the frozen replica comes back."""
    incidents = {row["id"]: row for row in evidence.books.incidents}
    for before in evidence.thawed:
        after = incidents[before["id"]]
        changed = [name for name in ("epoch", "phase", "progress", "resolution") if before[name] != after[name]]
        if changed:
            yield Violation(Kind.DOUBLED, f"incident {before['id']} was closed, and a thawed replica changed {changed}")
    ends = Counter(row["incident_id"] for row in evidence.books.timeline if row["kind"] == "resolved")
    for incident, count in ends.items():
        if count > 1:
            yield Violation(Kind.DOUBLED, f"incident {incident} was closed {count} times")


def _name(method: str, path: str, body: Any) -> str:
    """The same for the same call, whatever intent it carries."""
    return f"{method} {path} {msgspec.json.encode(marked(body, IntentId('')), order='sorted').decode()}"
