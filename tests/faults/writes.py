"""What must hold of the writes to the world and of their journal, whatever broke. Pure, as `invariants`."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from remediator.clients.kubernetes.writer import INTENT_ANNOTATION
from remediator.domain.notification import LEFT_BEHIND
from remediator.domain.plan import Call as PlannedCall
from remediator.engine.late_results import CAME_LATE
from tests.fakes.kubernetes import Recorded
from tests.faults.books import Row
from tests.faults.evidence import Evidence
from tests.faults.rules import BUDGETS
from tests.faults.violations import Kind, Violation

BETWEEN_FENCE_AND_WRITE = timedelta(seconds=2)
"""What lies between the last look at our own state and the request: a slow machine, never a lost lease."""
KNOWN_WITHIN = timedelta(seconds=0.25)
"""From a line of the timeline, which has the moment in which it was written, until its transaction is committed."""
SUPPRESSED = " is suppressed at its source "
_SEEN = "seen in the world: "
"""So begins a result of which nobody had an answer: the world is as it was to be, whoever did it."""
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
            calls.setdefault(_name(call["method"], call["resource"], _payload(call)), []).append(Call(intent))
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
        for row in evidence.books.alerts_of(intent["incident_id"])
    )
    return fires and _is_before(write, incident["resolved_at"])


def _is_before(write: Recorded, end: datetime | None) -> bool:
    return end is None or write.at <= end + BETWEEN_FENCE_AND_WRITE


def done(evidence: Evidence) -> Iterator[Violation]:
    """What is recorded as done was written under its intent; or somebody looked, and it had been, by whomever."""
    for intent in evidence.books.intents:
        if intent["state"] == "done" and not _was_done(intent, evidence):
            yield Violation(Kind.LOST, f"{called(intent)} is recorded as done, and nobody wrote it")


def _was_done(intent: Row, evidence: Evidence) -> bool:
    wanted = {_change(call["method"], call["resource"], _payload(call)) for call in intent["plan"]["calls"]}
    wrote = [write.at for write in evidence.effects if _change(write.method, write.path, write.body) in wanted]
    since = datetime.min.replace(tzinfo=UTC) if intent["detail"].startswith(_SEEN) else intent["begun_at"]
    return any(since <= at <= intent["finished_at"] for at in wrote)


def _change(method: str, path: str, body: Any) -> str:
    """The same for whatever leaves the world the same: a pod is gone, evicted or deleted."""
    is_gone = method == "DELETE" or path.endswith("/eviction")
    return path.removesuffix("/eviction") if is_gone else _name(method, path, body)


def intents(evidence: Evidence) -> Iterator[Violation]:
    """Each has a result, and the timeline tells it once, by the journal's word. Whoever knows better later, and
    corrects the journal, tells that beside it."""
    told = _told(evidence)
    for intent in evidence.books.intents:
        if intent["state"] == "begun":
            yield Violation(Kind.LOST, f"{called(intent)} has no result")
            continue
        words = told[str(intent["id"])]
        times = sum(not word.startswith(CAME_LATE) for word in words)
        if times == 0:
            yield Violation(Kind.LOST, f"the result of {called(intent)} is told nowhere")
        if times > 1:
            yield Violation(Kind.DOUBLED, f"the result of {called(intent)} is told {times} times")
        if words and _result(words[-1]) != intent["state"]:
            what = f"{called(intent)} is told as {_result(words[-1])}, and recorded as {intent['state']}"
            yield Violation(Kind.OTHER, what)


def _told(evidence: Evidence) -> Mapping[str, Sequence[str]]:
    """What the timelines say of each intent's result, by its id, in their order."""
    told = defaultdict[str, list[str]](list)
    for row in evidence.books.timeline:
        if row["kind"] in {"fix", "undo"} and "intent" in row["data"]:
            told[row["data"]["intent"]].append(row["message"])
    return told


def _result(message: str) -> str:
    return message.removeprefix(f"{CAME_LATE}: ").partition(":")[0]


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
    for intent in evidence.books.intents:
        is_of_one = len({row["fingerprint"] for row in evidence.books.alerts_of(intent["incident_id"])}) == 1
        if is_of_one and intent["undoes"] is None and _is_known_to_be_silenced(intent, evidence):
            yield Violation(Kind.OTHER, f"{called(intent)} was begun while its alert was silenced")


def _is_known_to_be_silenced(intent: Row, evidence: Evidence) -> bool:
    """By the last that was heard of it before; of what was told at one moment, the last."""
    heard = [
        row
        for row in evidence.books.timeline
        if row["incident_id"] == intent["incident_id"] and row["kind"] == "alert" and row["at"] < intent["begun_at"]
    ]
    last = sorted(heard, key=lambda row: row["at"])[-1:]
    return any(SUPPRESSED in row["message"] and row["at"] < intent["begun_at"] - KNOWN_WITHIN for row in last)


def unknown(evidence: Evidence) -> Iterator[Violation]:
    """What nobody can tell of is never tried again, and somebody is told of it: of a fix by a page about its incident,
    unless a person has that in hand; of a leased fix whose undo it was, by a page of its own. What was taken for not
    done, until whoever wrote it said otherwise, was followed by whatever came next."""
    told = _told(evidence)
    for intent in evidence.books.intents:
        if intent["state"] != "unknown":
            continue
        came_late = any(word.startswith(CAME_LATE) for word in told[str(intent["id"])])
        for again in evidence.books.intents:
            if _repeats(again, intent) and not came_late:
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
    if any(left_behind(intent["undoes"] or intent["id"]) in row["dedup_key"] for row in ordered):
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
        disturbed[_workload(intent), rule_of(intent, evidence)] += intent["plan"]["units"]
        if reserved[intent["id"]] != intent["plan"]["units"]:
            yield Violation(Kind.LOST, f"{called(intent)} spends what is not reserved")
    for (workload, rule), units in disturbed.items():
        if units > BUDGETS[rule]:
            yield Violation(Kind.DOUBLED, f"budget of {workload}: {units} of {BUDGETS[rule]} spent")


def rule_of(intent: Row, evidence: Evidence) -> str:
    [rule] = [row["rule"] for row in evidence.books.incidents if row["id"] == intent["incident_id"]]
    return str(rule)


def left_behind(intent: object) -> str:
    """In the key of a page that tells of that change alone: nobody takes it back any more."""
    return f":{LEFT_BEHIND}:{intent}:"


def taken_back(evidence: Evidence) -> Iterator[Violation]:
    """What was done for a while has been taken back, or goes to a person, or an incident wakes for it. A write of which
    its incident learned too late is left, and somebody is told so."""
    settled = {intent["undoes"] for intent in evidence.books.intents if intent["state"] in {"done", "unknown"}}
    remembered = {
        undo["intent"]
        for incident in evidence.books.incidents
        if (undo := incident["progress"].get("undo")) and incident["wake_at"] is not None
    }
    for intent in evidence.books.intents:
        is_settled = intent["id"] in settled or str(intent["id"]) in remembered or _is_left(intent, evidence)
        if _is_leased(intent) and not is_settled:
            yield Violation(Kind.LOST, f"{called(intent)} is never taken back")


def _is_leased(intent: Row) -> bool:
    return intent["state"] == "done" and intent["plan"].get("undo_after") is not None


def _is_left(intent: Row, evidence: Evidence) -> bool:
    return any(left_behind(intent["id"]) in row["dedup_key"] for row in evidence.books.outbox)


def as_before(evidence: Evidence) -> Iterator[Violation]:
    """What was scaled for a while is as large as it was, once all of it is taken back, and if it is known what was
    done."""
    undone = {intent["undoes"] for intent in evidence.books.intents if intent["state"] == "done"}
    unsure = {_workload(intent) for intent in evidence.books.intents if intent["state"] == "unknown"}
    leased = defaultdict[str, list[Row]](list)
    for intent in evidence.books.intents:
        if _is_leased(intent):
            leased[_workload(intent)].append(intent)
    for workload, fixes in leased.items():
        before, now = fixes[0]["plan"]["pre_image"]["replicas"], evidence.replicas[workload]
        if workload not in unsure and all(fix["id"] in undone for fix in fixes) and now != before:
            yield Violation(Kind.LOST, f"all that scaled {workload} is taken back, from {before} to {now} replicas")


def _workload(intent: Row) -> str:
    return str(intent["plan"]["target"]["name"])


def called(intent: Row) -> str:
    return f"intent {intent['id']} of incident {intent['incident_id']} ({intent['plan']['summary']})"


def _payload(call: Row) -> Any:
    return msgspec.convert(call, PlannedCall).payload


def _name(method: str, path: str, body: Any) -> str:
    """The same for the same call, whatever intent it carries, and whatever state of the pod a deletion is bound to."""
    return f"{method} {path} {msgspec.json.encode(_unbound(_unmarked(body)), order='sorted').decode()}"


def _unmarked(body: Any) -> Any:
    match body:
        case Mapping():
            path = str(body.get("path", ""))
            kept = {key: "" if key == INTENT_ANNOTATION else _unmarked(value) for key, value in body.items()}
            return kept | {"value": ""} if path.endswith(INTENT_ANNOTATION.replace("/", "~1")) else kept
        case list():
            return [_unmarked(item) for item in body]
        case _:
            return body


def _unbound(body: Any) -> Any:
    if not isinstance(body, Mapping) or "preconditions" not in body:
        return body
    return {**body, "preconditions": {**body["preconditions"], "resourceVersion": ""}}
