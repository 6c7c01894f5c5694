"""What must hold whatever broke. Pure: evidence in, violations out, each with the promise that it breaks."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from itertools import chain

from remediator.domain.incident import Phase
from remediator.domain.notification import LEFT_BEHIND
from tests.fakes.alertmanager_peers import Told
from tests.faults.believed import believed, is_over_unheard
from tests.faults.books import Row
from tests.faults.ceiling import approvals, ceiling
from tests.faults.evidence import Evidence
from tests.faults.put_aside import put_aside
from tests.faults.rules import CHANNELS
from tests.faults.scenario import PagerFault, Response
from tests.faults.versions import is_without_rule, versions
from tests.faults.violations import Kind, Violation
from tests.faults.writes import (
    as_before,
    budgets,
    done,
    held,
    intents,
    stopped,
    taken_back,
    unknown,
    writes,
)

_NOT_THROUGH = {Phase.OPENED, Phase.DIAGNOSED, Phase.PROPOSED, Phase.CLEARED, Phase.FIXED, Phase.UNDOING}
"""The automation has something to do yet, if only later."""
ANSWERED_WITHIN = 3.0
"""Seconds: the two that are promised, and a slow machine."""
OPEN_WITHIN = 6.0
"""Seconds: who has just found the database well waits for another second, and the machine may be a busy one."""
_DECIDED = ("paging ", "would page ")
_LAPSED = "has run out: the chain starts again"


def at_rest(evidence: Evidence) -> list[Violation]:
    """When nothing moves any more, and some alerts may still fire."""
    return list(
        chain(
            _receipts(evidence),
            _episodes(evidence),
            believed(evidence),
            _people_reached(evidence),
            _timers(evidence),
            _pages(evidence),
            _repeated(evidence),
            _orders(evidence),
            _ends_told(evidence),
            writes(evidence),
            done(evidence),
            intents(evidence),
            unknown(evidence),
            stopped(evidence),
            held(evidence),
            ceiling(evidence),
            approvals(evidence),
            versions(evidence),
            budgets(evidence),
            taken_back(evidence),
            _responses(evidence),
            _closed(evidence),
            _refusals(evidence),
            put_aside(evidence),
            _doors(evidence),
            _fences(evidence),
        )
    )


def at_the_end(evidence: Evidence) -> list[Violation]:
    """When the last truthful notification has told that everything has resolved, but what it was kept from telling."""
    books = evidence.books
    left_open = [row for row in books.episodes if row["closed_at"] is None]
    unheard = {row["id"] for row in left_open if is_over_unheard(row, evidence)}
    open_episodes = (
        Violation(Kind.OTHER, f"episode {row['id']} of {row['fingerprint']} is still open")
        for row in left_open
        if row["id"] not in unheard
    )
    waiting = {row["incident_id"] for row in left_open if row["id"] in unheard}
    open_incidents = (
        Violation(Kind.OTHER, f"incident {row['id']} is {row['status']}, {row['phase']}")
        for row in books.incidents
        if row["status"] != "resolved" and row["id"] not in waiting and not _is_unwell(row)
    )
    return [*at_rest(evidence), *open_episodes, *open_incidents, *as_before(evidence)]


def _is_unwell(incident: Row) -> bool:
    """A fix failed its proof, and health has not come back though the alert has ended: a person closes it."""
    tried = {attempt["result"] for attempt in incident["progress"].get("attempts", ())}
    return "ineffective" in tried and "NOT ok" in incident["progress"]["checked"]


def _receipts(evidence: Evidence) -> Iterator[Violation]:
    """Delivery by delivery: what another one told as well would hide that this one is lost."""
    for delivery in evidence.deliveries:
        if delivery.is_accepted and delivery.number not in evidence.books.bodies:
            yield Violation(Kind.LOST, f"delivery {delivery.number} was answered {delivery.answered} and not stored")


def _episodes(evidence: Evidence) -> Iterator[Violation]:
    rows = evidence.books.episodes
    told_when = [(told, d.answered_at) for d in evidence.deliveries if d.is_accepted for told in d.alerts]
    for told, answered_at in told_when:
        known = [r for r in rows if r["fingerprint"] == told.fingerprint]
        if told.is_firing and not any(_tells(row, told, by=answered_at) for row in known):
            yield Violation(Kind.LOST, f"firing {told.fingerprint} from {told.starts_at} was accepted and is nowhere")
        if any(r["closed_at"] is None and _ends(told, r) for r in known):
            yield Violation(Kind.LOST, f"the end of {told.fingerprint} at {told.ends_at} was accepted and it fires on")
    for key, count in Counter(r["fingerprint"] for r in rows if r["closed_at"] is None).items():
        if count > 1:
            yield Violation(Kind.DOUBLED, f"{count} open episodes of {key}")
    for row in rows:
        is_over_unseen = row["closed_at"] is not None and is_without_rule(row, evidence)
        if row["incident_id"] is None and row["opened_at"] != row["closed_at"] and not is_over_unseen:
            yield Violation(Kind.LOST, f"episode {row['id']} has a rule and opened no incident")


def _tells(episode: Row, told: Told, *, by: datetime) -> bool:
    """It was there when the sender was answered: what was opened later, by the end or by whoever told it again, would
    hide that this start is lost. Of a late start the episode is over."""
    return episode["opened_at"] <= by and (episode["ends_at"] is None or episode["ends_at"] >= told.starts_at)


def _ends(told: Told, episode: Row) -> bool:
    return told.ends_at is not None and told.ends_at >= episode["starts_at"]


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


def _timers(evidence: Evidence) -> Iterator[Violation]:
    """Whoever is not through wakes by itself, and the chain of whoever is open goes on."""
    chains = {row["incident_id"]: row["due_at"] for row in evidence.books.escalations}
    for row in evidence.books.incidents:
        name = f"incident {row['id']} ({row['status']}, {row['phase']})"
        if row["phase"] in _NOT_THROUGH and row["wake_at"] is None:
            yield Violation(Kind.LOST, f"{name} never wakes")
        if row["status"] != "resolved" and chains.get(row["id"]) is None:
            yield Violation(Kind.LOST, f"the chain of {name} has stopped")
        if row["status"] == "resolved" and chains.get(row["id"]) is not None:
            yield Violation(Kind.OTHER, f"the chain of {name} goes on")


def _pages(evidence: Evidence) -> Iterator[Violation]:
    rows = {row["dedup_key"]: row for row in evidence.books.outbox}
    arrived = {arrival.dedup_key for arrival in evidence.inbox.arrivals}
    for key in sorted({arrival.dedup_key for arrival in evidence.arrivals} - rows.keys()):
        yield Violation(Kind.DOUBLED, f"page {key} was sent and nobody ordered it")
    for key, row in rows.items():
        if row["state"] == "sent" and key not in arrived:
            yield Violation(Kind.LOST, f"page {key} is recorded as sent and never arrived")
        gave_up = row["kind"] == "page" and row["state"] == "failed" and row["error"] != "withdrawn"
        if gave_up and not key.endswith("::last-resort"):
            missing = [name for name in CHANNELS if f"{key}:{name}::last-resort" not in rows]
            if missing:
                yield Violation(
                    Kind.LOST, f"page {key} failed, and {', '.join(missing)} was not tried as a last resort"
                )


def _repeated(evidence: Evidence) -> Iterator[Violation]:
    """A page goes out again, by whichever channel, only where nobody could know that it had: its sender lost it, or was
    not answered. The last resort has a key for each channel."""
    channels = defaultdict[str, list[str]](list)
    for arrival in evidence.arrivals:
        channels[arrival.dedup_key].append(arrival.channel)
    unanswered = Counter(arrival.dedup_key for arrival in evidence.arrivals if not arrival.was_answered)
    for key, sent in channels.items():
        if len(sent) > 1 + unanswered[key] + evidence.taken.get(key, 0):
            what = f"page {key} was sent {len(sent)} times ({', '.join(sent)})"
            yield Violation(Kind.DOUBLED, f"{what}, and nothing explains it")


def _orders(evidence: Evidence) -> Iterator[Violation]:
    """The timeline says who is paged, or would be, once for each message: its key may be nobody else's."""
    told = Counter(
        row["incident_id"]
        for row in evidence.books.timeline
        if row["kind"] == "page" and row["path"].startswith("escalate[") and row["message"].startswith(_DECIDED)
    )
    ordered = Counter(
        row["incident_id"]
        for row in evidence.books.outbox
        if row["kind"] in {"page", "review"} and not row["dedup_key"].endswith("::last-resort")
    )
    for incident in sorted(told.keys() | ordered.keys()):
        if told[incident] != ordered[incident]:
            yield Violation(
                Kind.LOST if told[incident] > ordered[incident] else Kind.DOUBLED,
                f"{told[incident]} pages about incident {incident} were decided, {ordered[incident]} are messages",
            )


def _ends_told(evidence: Evidence) -> Iterator[Violation]:
    """Whoever has a page of a chain, or may have one, is told when its incident is over, once it is."""
    over = {row["id"] for row in evidence.books.incidents if row["status"] == "resolved"}
    told = {(row["incident_id"], row["recipient"]) for row in evidence.books.outbox if row["kind"] == "resolved"}
    paged = {(row["incident_id"], row["recipient"]) for row in evidence.books.outbox if _may_have_arrived(row)}
    for incident, recipient in sorted(paged - told):
        if incident in over:
            yield Violation(Kind.LOST, f"{recipient} was paged about incident {incident}, and never told that it ended")


def _may_have_arrived(row: Row) -> bool:
    is_of_a_chain = row["kind"] == "page" and f":{LEFT_BEHIND}:" not in row["dedup_key"]
    return is_of_a_chain and (row["state"] == "sent" or row["unanswered"] is not None)


def _responses(evidence: Evidence) -> Iterator[Violation]:
    incidents = {row["id"]: row for row in evidence.books.incidents}
    lapsed = {row["incident_id"] for row in evidence.books.timeline if _LAPSED in row["message"]}
    for answer in evidence.answered:
        row = incidents[answer.incident]
        is_held = row["acknowledged_by"] or row["id"] in lapsed
        holds = row["status"] == "resolved" or (answer.does is Response.ACKNOWLEDGE and is_held)
        if not holds:
            yield Violation(Kind.LOST, f"incident {answer.incident} was told to {answer.does} with a 200, and is not")


def _closed(evidence: Evidence) -> Iterator[Violation]:
    """Nothing that fires is over, and nothing joins what is."""
    for row in evidence.books.incidents:
        fires = [e for e in evidence.books.episodes if e["incident_id"] == row["id"] and e["closed_at"] is None]
        if fires and row["resolution"] == "the alert resolved":
            yield Violation(Kind.LOST, f"incident {row['id']} ended with its alert, and {len(fires)} of it fire")
    over = set[int]()
    for entry in evidence.books.timeline:
        if entry["kind"] == "resolved":
            over.add(entry["incident_id"])
        elif entry["kind"] == "alert" and " fires (" in entry["message"] and entry["incident_id"] in over:
            yield Violation(Kind.LOST, f"an alert joined incident {entry['incident_id']}, which was over")


def _refusals(evidence: Evidence) -> Iterator[Violation]:
    """Without a database nobody waits, and nobody is told that all is well."""
    for probe in evidence.probes:
        if probe.status != 503 or probe.seconds > ANSWERED_WITHIN:
            what = f"{probe.of} was answered {probe.status} after {probe.seconds:.1f} s"
            yield Violation(Kind.OTHER, f"{what}, while nothing came through to the database")


def _doors(evidence: Evidence) -> Iterator[Violation]:
    """When the troubles are over, everybody takes alerts again."""
    for knock in evidence.knocks:
        if knock.status != 202 or knock.seconds > OPEN_WITHIN:
            what = f"an ordinary alert was answered {knock.status} after {knock.seconds:.1f} s"
            yield Violation(Kind.LOST, f"{what} by {knock.at}, and nothing is wrong any more")


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
