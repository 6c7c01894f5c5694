"""What must hold of the writes to the world and of their journal, whatever broke. Pure, as `invariants`."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from remediator.clients.kubernetes.writer import marked
from remediator.domain.ids import IntentId
from tests.fakes.kubernetes import Recorded
from tests.faults.books import Row
from tests.faults.evidence import Evidence
from tests.faults.rules import BUDGETS
from tests.faults.violations import Kind, Violation

BETWEEN_FENCE_AND_WRITE = timedelta(seconds=2)
"""What lies between the last look at our own state and the request: a slow machine, never a lost lease."""
_SUPPRESSED = " is suppressed at its source "
_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Call:
    """One of a journalled plan. Two writes that look the same are told apart by when their intents lived."""

    intent: Row

    def has_room_for(self, write: Recorded) -> bool:
        finished = self.intent["finished_at"]
        return self.intent["begun_at"] <= write.at <= (finished or _NEVER) and not self._denies(write)

    def _denies(self, write: Recorded) -> bool:
        return self.intent["state"] == "failed" and 200 <= write.answered < 300


def writes(evidence: Evidence) -> Iterator[Violation]:
    """Each was journalled before it, was wanted, and is told of as it was: no intent's call is made twice, none is made
    once its result is known, and none that had an effect is recorded as failed."""
    calls: dict[str, list[Call]] = {}
    for intent in evidence.books.intents:
        for call in intent["plan"]["calls"]:
            calls.setdefault(_name(call["method"], call["resource"], call["body"]), []).append(Call(intent))
    for write in sorted(evidence.writes, key=lambda write: write.at):
        name = _name(write.method, write.path, write.body)
        call = _take(calls.get(name, []), write)
        if call is None:
            yield Violation(
                Kind.DOUBLED, f"written at {write.at}, answered {write.answered}, by no intent that says so: {name}"
            )
        elif not _was_wanted(call.intent, write, evidence):
            yield Violation(Kind.DOUBLED, f"written at {write.at}, after what it was for had ended: {name}")


def _take(calls: list[Call], write: Recorded) -> Call | None:
    """Of those it may be, the one that ends first: the others may still be somebody else's."""
    possible = [call for call in calls if call.has_room_for(write)]
    if not possible:
        return None
    taken = min(possible, key=lambda call: call.intent["finished_at"] or _NEVER)
    calls.remove(taken)
    return taken


def _was_wanted(intent: Row, write: Recorded, evidence: Evidence) -> bool:
    """An undo is wanted whatever becomes of its alert and its incident."""
    if intent["undoes"] is not None:
        return True
    [incident] = [row for row in evidence.books.incidents if row["id"] == intent["incident_id"]]
    fires = any(
        row["opened_at"] <= write.at and _is_before(write, row["closed_at"])
        for row in evidence.books.episodes
        if row["incident_id"] == intent["incident_id"]
    )
    return fires and _is_before(write, incident["resolved_at"])


def _is_before(write: Recorded, end: datetime | None) -> bool:
    return end is None or write.at <= end + BETWEEN_FENCE_AND_WRITE


def intents(evidence: Evidence) -> Iterator[Violation]:
    told = Counter(
        row["data"]["intent"] for row in evidence.books.timeline if row["kind"] in {"fix", "undo"} and row["data"]
    )
    for intent in evidence.books.intents:
        if intent["state"] == "begun":
            yield Violation(Kind.LOST, f"{called(intent)} has no result")
        if told[str(intent["id"])] > 1:
            yield Violation(Kind.DOUBLED, f"the result of {called(intent)} is told {told[str(intent['id'])]} times")


def stopped(evidence: Evidence) -> Iterator[Violation]:
    """Once the kill switch is on nothing is begun, and what was under way is soon over."""
    for still in evidence.standstills:
        for intent in evidence.books.intents:
            if still.begins_at < intent["begun_at"] < still.ends_at:
                yield Violation(Kind.OTHER, f"{called(intent)} was begun while the kill switch was on")
        for write in evidence.writes:
            if still.begins_at + BETWEEN_FENCE_AND_WRITE < write.at < still.ends_at:
                yield Violation(Kind.OTHER, f"written at {write.at}, while the kill switch was on: {write.path}")


def held(evidence: Evidence) -> Iterator[Violation]:
    """While an incident's one alert is silenced at its source, and that is known, no fix of it is begun."""
    alerts = defaultdict[int, set[str]](set)
    for episode in evidence.books.episodes:
        alerts[episode["incident_id"]].add(episode["fingerprint"])
    for intent in evidence.books.intents:
        is_of_one = len(alerts[intent["incident_id"]]) == 1
        if is_of_one and intent["undoes"] is None and _SUPPRESSED in _last_heard_of(intent, evidence):
            yield Violation(Kind.OTHER, f"{called(intent)} was begun while its alert was silenced")


def _last_heard_of(intent: Row, evidence: Evidence) -> str:
    """Of the alert, before the intent was begun."""
    heard = [
        (row["at"], row["message"])
        for row in evidence.books.timeline
        if row["incident_id"] == intent["incident_id"] and row["kind"] == "alert" and row["at"] < intent["begun_at"]
    ]
    return max(heard, default=("", ""))[1]


def unknown(evidence: Evidence) -> Iterator[Violation]:
    """What nobody can tell of is never tried again, and somebody is told of it: of a fix by a page about its incident,
    unless a person has that in hand; of a leased fix whose undo it was, by a page of its own."""
    for intent in evidence.books.intents:
        if intent["state"] != "unknown":
            continue
        for again in evidence.books.intents:
            if _repeats(again, intent):
                yield Violation(Kind.DOUBLED, f"nobody can tell of {called(intent)}, and it was tried again")
        if not _is_told(intent, evidence):
            yield Violation(Kind.LOST, f"nobody can tell of {called(intent)}, and nobody was told so")


def _repeats(intent: Row, unknown: Row) -> bool:
    same = intent["incident_id"] == unknown["incident_id"] and intent["undoes"] == unknown["undoes"]
    return same and intent["begun_at"] > unknown["finished_at"]


def _is_told(intent: Row, evidence: Evidence) -> bool:
    incident = intent["incident_id"]
    ordered = [
        row
        for row in evidence.books.outbox
        if row["incident_id"] == incident and row["kind"] == "page" and row["error"] != "withdrawn"
    ]
    if any(f":left:{intent['undoes'] or intent['id']}:" in row["dedup_key"] for row in ordered):
        return True
    [row] = [row for row in evidence.books.incidents if row["id"] == incident]
    is_in_hand = bool(row["acknowledged_by"]) or row["resolution"].startswith("resolved by")
    return intent["undoes"] is None and bool(ordered or is_in_hand)


def budgets(evidence: Evidence) -> Iterator[Violation]:
    """Counted by what was journalled to be done, and by what was reserved for it: neither is proof of the other."""
    fixes = [intent for intent in evidence.books.intents if intent["undoes"] is None]
    reserved = Counter[object]()
    for row in evidence.books.reservations:
        reserved[row["intent_id"]] += row["units"]
    disturbed = Counter[tuple[str, str]]()
    for intent in fixes:
        disturbed[intent["plan"]["target"]["name"], rule_of(intent, evidence)] += intent["plan"]["units"]
        if reserved[intent["id"]] != intent["plan"]["units"]:
            yield Violation(Kind.LOST, f"{called(intent)} spends what is not reserved")
    for (workload, rule), units in disturbed.items():
        if units > BUDGETS[rule]:
            yield Violation(Kind.DOUBLED, f"budget of {workload}: {units} of {BUDGETS[rule]} spent")


def rule_of(intent: Row, evidence: Evidence) -> str:
    [rule] = [row["rule"] for row in evidence.books.incidents if row["id"] == intent["incident_id"]]
    return str(rule)


def taken_back(evidence: Evidence) -> Iterator[Violation]:
    """What was done for a while has been taken back, or goes to a person, or an incident wakes for it."""
    settled = {intent["undoes"] for intent in evidence.books.intents if intent["state"] in {"done", "unknown"}}
    remembered = {
        undo["intent"]
        for incident in evidence.books.incidents
        if (undo := incident["progress"].get("undo")) and incident["wake_at"] is not None
    }
    for intent in evidence.books.intents:
        is_leased = intent["state"] == "done" and intent["plan"].get("undo_after") is not None
        if is_leased and intent["id"] not in settled and str(intent["id"]) not in remembered:
            yield Violation(Kind.LOST, f"{called(intent)} is never taken back")


def called(intent: Row) -> str:
    return f"intent {intent['id']} of incident {intent['incident_id']} ({intent['plan']['summary']})"


def _name(method: str, path: str, body: Any) -> str:
    """The same for the same call, whatever intent it carries."""
    return f"{method} {path} {msgspec.json.encode(marked(body, IntentId('')), order='sorted').decode()}"
