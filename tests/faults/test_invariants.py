"""What each invariant of the fault run finds: a seed that is well, and one thing wrong with it at a time."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from remediator.domain.mode import Mode
from remediator.domain.plan import Plan
from remediator.engine.late_results import CAME_LATE
from tests.fakes.alertmanager_peers import Delivery, Told
from tests.fakes.kubernetes import Recorded
from tests.faults.books import Books
from tests.faults.evidence import Answered, Approved, Broken, Edition, Evidence, Knock, Probe, Sent, Standstill
from tests.faults.inbox import Arrival, Inbox
from tests.faults.invariants import at_rest, at_the_end
from tests.faults.polling import Poll
from tests.faults.scenario import PagerFault, Response
from tests.faults.versions import nobodys


def moment(seconds: float) -> datetime:
    return datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(seconds=seconds)


PATH = "/apis/apps/v1/namespaces/prod/deployments/scale-0/scale"
PLAN = {
    "action": "scale",
    "calls": [{"system": "kubernetes", "method": "PATCH", "resource": PATH, "body": []}],
    "target": {"kind": "deployment", "name": "scale-0", "namespace": "prod"},
    "summary": "scale it",
    "precondition": "nobody has scaled it",
    "units": 1,
    "undo_after": "PT1.5S",
    "pre_image": {"replicas": 2, "uid": "u"},
}


def seed() -> Any:
    """One alert fires; its fix is done and to be undone; a person was paged and has acknowledged."""
    well = SimpleNamespace(
        mode=Mode.ACT,
        episode={
            "id": 1,
            "source": "alertmanager",
            "fingerprint": "f1",
            "incident_id": 1,
            "starts_at": moment(0),
            "ends_at": None,
            "opened_at": moment(1),
            "closed_at": None,
            "suppressed_by": "",
            "is_listed": False,
            "labels": {"alertname": "Scale"},
        },
        incident={
            "id": 1,
            "rule": "scale",
            "rule_version": "v1",
            "opened_at": moment(1),
            "status": "acknowledged",
            "phase": "handed_over",
            "acknowledged_by": "alice",
            "resolution": "",
            "resolved_at": None,
            "wake_at": moment(60),
            "lease_until": None,
            "progress": {"undo": {"intent": "i1"}},
            "epoch": 4,
        },
        intent={
            "id": "i1",
            "incident_id": 1,
            "state": "done",
            "detail": "scaled",
            "undoes": None,
            "begun_at": moment(2),
            "finished_at": moment(3),
            "plan": PLAN,
        },
        reservations=[{"key": "scale-0", "intent_id": "i1", "units": 1}],
        chain={"incident_id": 1, "due_at": moment(900)},
        page={
            "incident_id": 1,
            "dedup_key": "1:1:0:alice",
            "kind": "page",
            "recipient": "alice",
            "state": "sent",
            "error": "",
            "unanswered": None,
        },
        told=[
            entry("alert", "Scale fires (am): "),
            entry("page", "paging alice (pager)", path="escalate[0]"),
            entry("fix", "done: scaled", data={"intent": "i1"}),
        ],
        summaries={"v0": "Edition 0", "v1": "Edition 1", "v2": "Edition 2"},
        editions=[
            Edition(0, moment(-9), is_sound=True),
            Edition(1, moment(0), is_sound=True),
            Edition(2, moment(4), is_sound=False),
        ],
        births=[moment(-9)],
        begun_with={1: "v1"},
        bodies={7},
        unwanted=["u1", "u2"],
        quarantine=[aside(2, b"17"), aside(-1, b"{")],
        partly_read=[b"in part"],
        writes=[write(2.5)],
        effects=[write(2.5)],
        replicas={"scale-0": 3},
        approved=[],
        thawed=[],
        pager=None,
        alerts=(Told("f1", {}, moment(0), None),),
        arrivals=[Arrival("pager", "1:1:0:alice", 1, "page", title="Scale")],
        answered=[Answered(1, Response.ACKNOWLEDGE)],
        polls=[],
        firings=[Told("f1", {}, moment(0), None)],
        again=[],
        pages=[],
        taken={},
        standstills=[Standstill(moment(2.2), moment(4))],
        probes=[Probe("a webhook", 503, 2.0)],
        knocks=[Knock("here", 202, 1.0, "f1", edition=1)],
        knocked=sent(b"knock", 202, wanted=("f1",)),
        sound=sent(b"sound", 202, unwanted=("u1",)),
        in_part=sent(b"in part", 202, unwanted=("u2",), broken=(Broken(2, b"17"),)),
        unread=sent(b"{", 400, broken=(Broken(-1, b"{"),)),
    )
    well.intents = [well.intent]
    return well


def entry(kind: str, message: str, *, path: str = "", data: Any = None, at: float = 1) -> dict[str, Any]:
    return {"incident_id": 1, "kind": kind, "path": path, "message": message, "data": data or {}, "at": moment(at)}


def sent(
    body: bytes,
    status: int,
    *,
    unwanted: tuple[str, ...] = (),
    wanted: tuple[str, ...] = (),
    broken: tuple[Broken, ...] = (),
) -> Sent:
    """Refused once, and then answered."""
    readable = len(unwanted) + len(wanted)
    receipts = [(readable, len(broken))] if status == 202 else []
    return Sent(body, unwanted, wanted, broken, readable, 2, Counter({503: 1, status: 1}), receipts)


def aside(position: int, raw: bytes) -> dict[str, Any]:
    return {"position": position, "reason": "it cannot be read", "raw": raw}


def polls(
    times: int, *listed: str, peers: tuple[int, ...] = (0, 1), suppressed: tuple[str, ...] = (), is_young: bool = False
) -> list[Poll]:
    """Each peer was asked so often since the sixth second, and listed these."""
    seen = frozenset(listed), frozenset(suppressed), is_young
    return [Poll(peer, moment(6 + number / 10), *seen) for number in range(times) for peer in peers]


def write(at: float, *, answered: int = 200) -> Recorded:
    return Recorded("PATCH", PATH, {}, [], moment(at), answered)


def evidence(seed: Any) -> Evidence:
    books = Books(
        now=moment(10),
        episodes=[seed.episode, *seed.again],
        incidents=[seed.incident],
        intents=seed.intents,
        reservations=seed.reservations,
        escalations=[seed.chain],
        outbox=[seed.page, *seed.pages],
        timeline=seed.told,
        summaries=seed.summaries,
        bodies=seed.bodies,
        unwanted=seed.unwanted,
        quarantine=seed.quarantine,
        partly_read=seed.partly_read,
    )
    delivery = Delivery(0, seed.alerts, 0, 202, 7, answered_at=moment(1.5))
    inbox = Inbox(seed.pager, seed.arrivals)
    return Evidence(
        mode=seed.mode,
        books=books,
        writes=seed.writes,
        arrivals=seed.arrivals,
        deliveries=[delivery],
        answered=seed.answered,
        approved=seed.approved,
        polls=seed.polls,
        probes=seed.probes,
        standstills=seed.standstills,
        knocks=seed.knocks,
        sent=[seed.knocked, seed.sound, seed.in_part, seed.unread],
        editions=seed.editions,
        taken=seed.taken,
        inbox=inbox,
        effects=seed.effects,
        replicas=seed.replicas,
        firings=seed.firings,
        births=seed.births,
        begun_with=seed.begun_with,
        thawed=seed.thawed,
    )


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert at_rest(evidence(seed())) == []


Wrong = Callable[[Any], object]


WRONG: list[tuple[Wrong, str]] = [
    (lambda s: s.bodies.clear(), "delivery 7 was answered 202 and not stored"),
    (lambda s: s.episode.update(fingerprint="f2"), "was accepted and is nowhere"),
    (lambda s: s.__setattr__("alerts", (Told("f1", {}, moment(0), moment(5)),)), "was accepted and it fires on"),
    (lambda s: s.episode.update(incident_id=None), "has a rule and opened no incident"),
    (lambda s: s.incident.update(phase="fixed", wake_at=None), "never wakes"),
    (lambda s: (s.incident.update(acknowledged_by=""), s.arrivals.clear()), "is open and nobody was paged"),
    (lambda s: s.chain.update(due_at=None), "the chain of incident 1 (acknowledged, handed_over) has stopped"),
    (lambda s: s.incident.update(status="resolved"), "the chain of incident 1 (resolved, handed_over) goes on"),
    (lambda s: s.arrivals.clear(), "is recorded as sent and never arrived"),
    (lambda s: s.page.update(dedup_key="1:1:1:bob"), "page 1:1:0:alice was sent and nobody ordered it"),
    (lambda s: s.told.append(s.told[1]), "2 pages about incident 1 were decided, 1 are messages"),
    (lambda s: s.writes.append(write(2.6)), "by no intent that says so"),
    (lambda s: s.intent.update(begun_at=moment(2.7)), "by no intent that says so"),
    (lambda s: s.intent.update(finished_at=moment(2.2)), "by no intent that says so"),
    (lambda s: s.intent.update(state="failed"), "by no intent that says so"),
    (lambda s: s.episode.update(closed_at=moment(0)), "after what it was for had ended"),
    (lambda s: s.incident.update(resolved_at=moment(0)), "after what it was for had ended"),
    (lambda s: s.intent.update(state="begun"), "has no result"),
    (lambda s: s.told.append(s.told[2]), "is told 2 times"),
    (lambda s: s.told.pop(2), "the result of intent i1 of incident 1 (scale it) is told nowhere"),
    (lambda s: tell_late(s, "done: scaled"), "is told as done, and recorded as failed"),
    (lambda s: s.intent.update(state="unknown"), "is told as done, and recorded as unknown"),
    (lambda s: s.effects.clear(), "is recorded as done, and nobody wrote it"),
    (lambda s: s.intent.update(begun_at=moment(2.7)), "is recorded as done, and nobody wrote it"),
    (
        lambda s: (see_done(s), s.intent.update(finished_at=moment(2.2))),
        "is recorded as done, and nobody wrote it",
    ),
    (lambda s: s.reservations.clear(), "spends what is not reserved"),
    (lambda s: s.intent.update(plan=PLAN | {"units": 4}), "budget of scale-0: 4 of 3 spent"),
    (lambda s: s.incident.update(progress={}), "is never taken back"),
    (lambda s: s.incident.update(wake_at=None), "is never taken back"),
    (lambda s: s.incident.update(acknowledged_by=""), "was told to acknowledge with a 200, and is not"),
    (lambda s: s.incident.update(resolution="the alert resolved"), "ended with its alert, and 1 of it fire"),
    (lambda s: s.told.insert(0, entry("resolved", "by bob")), "an alert joined incident 1, which was over"),
    (lambda s: s.told.extend([entry("resolved", "by bob")] * 2), "was closed 2 times"),
    (lambda s: unheard_start(s, polls(12, "f1", "f2", peers=(1,))), "f2 fired at 2026-03-01 12:00:03+00:00 and is now"),
    (lambda s: unheard_end(s, polls(12)), "f1 ended at 2026-03-01 12:00:05+00:00 and episode 1 is open, as 12 polls"),
    (lambda s: s.episode.update(is_listed=True), "episode 1 is taken for listed, and no peer has listed it"),
    (lambda s: s.polls.extend(polls(12, "f1")), "episode 1 is taken for nobody's we ask, as 12 polls told"),
    (lambda s: s.firings.clear(), "episode 1 begins at 2026-03-01 12:00:00+00:00, when nothing did"),
    (
        lambda s: s.episode.update(starts_at=moment(1)),
        "episode 1 begins at 2026-03-01 12:00:01+00:00, when nothing did",
    ),
    (lambda s: s.episode.update(incident_id=2), "somebody was told of incident 1, and no alert belongs to it"),
    (lambda s: s.episode.update(closed_at=moment(6), ends_at=moment(6)), "episode 1 was closed at 2026-03-01 12:00:06"),
    (
        lambda s: (tell_unknown(s), s.intents.append(intent_later(s))),
        "nobody can tell of intent i1 of incident 1 (scale it), and it was tried again",
    ),
    (lambda s: (tell_unknown(s), s.incident.update(acknowledged_by=""), withdraw(s)), "and nobody was told so"),
    (lambda s: s.intents.append(intent_later(s, undoes="i1", state="unknown")), "and nobody was told so"),
    (lambda s: s.probes.append(Probe("a webhook", 202, 0.1)), "a webhook was answered 202 after 0.1 s, while nothing"),
    (lambda s: s.probes.append(Probe("/readyz", 503, 4)), "/readyz was answered 503 after 4.0 s, while nothing came"),
    (lambda s: s.probes.append(Probe("a webhook", 0, 8)), "a webhook was answered 0 after 8.0 s, while nothing came"),
    (lambda s: s.standstills.append(Standstill(moment(1), moment(3))), "was begun while the kill switch was on"),
    (
        lambda s: s.standstills.append(Standstill(moment(0.4), moment(9))),
        "written at 2026-03-01 12:00:02.500000+00:00, w",
    ),
    (lambda s: s.arrivals.append(s.arrivals[0]), "page 1:1:0:alice was sent 2 times (pager, pager), and no"),
    (
        lambda s: s.arrivals.append(replace(s.arrivals[0], channel="chat")),
        "page 1:1:0:alice was sent 2 times (pager, chat), and nothing explains it",
    ),
    (
        lambda s: s.knocks.append(Knock("there", 503, 12.0)),
        "was answered 503 after 12.0 s by there, and nothing is wrong",
    ),
    (
        lambda s: s.knocks.append(Knock("there", 202, 9.0)),
        "was answered 202 after 9.0 s by there, and nothing is wrong",
    ),
    (lambda s: s.__setattr__("mode", Mode.OBSERVE), "intent i1 of incident 1 (scale it) was begun in observe mode"),
    (lambda s: s.__setattr__("mode", Mode.OBSERVE), "was written in observe mode: PATCH " + PATH),
    (
        lambda s: s.__setattr__("mode", Mode.OBSERVE),
        "somebody was told of incident 1 as if it were no dry run: 'Sca",
    ),
    (lambda s: s.__setattr__("mode", Mode.SUGGEST), "(scale it) was begun in suggest mode, and nobody had said yes to"),
    (lambda s: approve(s, plan="0123"), "(scale it) was begun in suggest mode, and nobody had said yes to it"),
    (lambda s: approve(s, at=2.1), "i1 of incident 1 (scale it) was begun in suggest mode, and nobody had said yes"),
    (lambda s: s.incident.update(rule="approved"), "(scale it) was begun in act mode, and nobody had said yes to it"),
    (lambda s: s.begun_with.update({1: "v0"}), "incident 1 of rule scale goes on by another version of its rule"),
    (
        lambda s: s.incident.update(rule_version="v2"),
        "incident 1 of rule scale was opened by edition 2, which is broken",
    ),
    (lambda s: s.incident.update(opened_at=moment(-1)), "rule scale was opened before there was edition 1"),
    (lambda s: s.incident.update(rule_version="v0"), "here works by Edition 0, and Edition 1 is in force"),
    (lambda s: silence(s, at=1.7), "intent i1 of incident 1 (scale it) was begun while its alert was silenced"),
    (lambda s: stay_silenced(s, polls(12, "f1")), "episode 1 is held by a silence that is over, as 12 polls told"),
    (lambda s: s.quarantine.append(aside(0, b'[{"labels"')), "put aside, and nobody sent it broken: it cannot be read"),
    (lambda s: s.quarantine.__setitem__(0, aside(1, b"17")), "put aside, and nobody sent it broken: it cannot be read"),
    (lambda s: s.quarantine.pop(1), "sent 2 times, answered 400 1 times, put aside 0 times: b'{'"),
    (lambda s: s.quarantine.__setitem__(0, aside(2, b" 17")), "sent 2 times, answered 202 1 times, put aside 0 times"),
    (lambda s: s.quarantine.extend([aside(2, b"17")] * 2), "sent 2 times, answered 202 1 times, put aside 3 times"),
    (lambda s: s.partly_read.clear(), "accepted 1 times and not kept as it was sent: b'in part'"),
    (lambda s: s.unwanted.remove("u1"), "u1 was accepted and is nowhere: b'sound'"),
    (lambda s: s.unwanted.remove("u2"), "u2 was accepted and is nowhere: b'in part'"),
    (lambda s: s.unwanted.append("u1"), "u1 fired once and has 2 episodes"),
    (lambda s: s.sound.answers.update({400: 1}), "answered 400, not 202: b'sound'"),
    (lambda s: s.in_part.answers.update({500: 1}), "answered 500, not 202: b'in part'"),
    (lambda s: s.in_part.receipts.append((2, 0)), "1 alerts can be read and 1 cannot; told: 2 and 0: b'in part'"),
    (lambda s: s.unread.answers.update({202: 1}), "answered 202, not 400: b'{'"),
    (
        lambda s: s.episode.update(opened_at=moment(1.7)),
        "firing f1 from 2026-03-01 12:00:00+00:00 was accepted and is no",
    ),
    (lambda s: s.episode.update(closed_at=moment(1)), "f1 was accepted and never began: b'knock'"),
    (lambda s: s.again.append(s.episode | {"id": 2}), "2 open episodes of f1"),
    (
        lambda s: s.page.update(state="failed", error="503"),
        "page 1:1:0:alice failed, and pager, chat was not tried as a last resort",
    ),
    (lambda s: s.thawed.append(s.incident | {"epoch": 3}), "1 was closed, and a thawed replica changed ['epoch']"),
    (lambda s: s.pages.append(another(s)), "1 pages about incident 1 were decided, 2 are messages"),
    (lambda s: s.answered.append(Answered(1, Response.RESOLVE)), "was told to resolve with a 200, and is not"),
    (lambda s: (fail(s), s.arrivals.clear(), s.incident.update(acknowledged_by="")), "is open and nobody was paged"),
    (lambda s: s.incident.update(status="resolved"), "alice was paged about incident 1, and never told that it ended"),
    (
        lambda s: (fail(s), s.page.update(unanswered=[{}]), s.incident.update(status="resolved")),
        "alice was paged about incident 1, and never told that it ended",
    ),
    (lambda s: s.approved.append(Approved(1, "0123")), "plan 0123 of incident 1 was approved with a 200, and the time"),
    (lambda s: s.again.append(s.episode | {"id": 2}), "f1 fired once at 2026-03-01 12:00:00+00:00 and has 2 episodes"),
]


def tell_unknown(seed: Any) -> None:
    """Of the fix."""
    seed.intent.update(state="unknown")
    seed.told[2] = entry("fix", "unknown: nobody can tell", data={"intent": "i1"})


def see_done(seed: Any) -> None:
    seed.intent.update(detail="seen in the world: scale it (it was begun before a restart)")


def tell_late(seed: Any, what: str) -> None:
    """By whoever wrote it, after another had looked in vain and recorded that it had failed."""
    seed.intent.update(state="failed")
    seed.told[2] = entry("fix", "failed: not in the world", data={"intent": "i1"})
    seed.told.append(entry("fix", f"{CAME_LATE}: {what}", data={"intent": "i1"}))


def fail(seed: Any) -> None:
    """By its last channel."""
    seed.page.update(state="failed", error="503")


def another(seed: Any, **changes: Any) -> Any:
    """Message, to the same person."""
    return seed.page | {"dedup_key": "1:1:1:alice"} | changes


def approve(seed: Any, *, plan: str = "", at: float = 1.9) -> None:
    seed.mode = Mode.SUGGEST
    digest = plan or msgspec.convert(PLAN, Plan).digest
    seed.told.append(entry("approval", f"plan {digest} approved by tests", at=at))


def silence(seed: Any, *, at: float) -> None:
    seed.told.append(entry("alert", "Scale is suppressed at its source (alertmanager): silence a", at=at))


def stay_silenced(seed: Any, told: list[Poll]) -> None:
    """For who had heard of it."""
    seed.episode.update(suppressed_by="silence a", is_listed=True)
    seed.polls += told


def withdraw(seed: Any) -> None:
    seed.page.update(state="failed", error="withdrawn")


def intent_later(seed: Any, **changes: Any) -> dict[str, Any]:
    return seed.intent | {"id": "i2", "begun_at": moment(4), "finished_at": moment(5)} | changes


def unheard_start(seed: Any, told: list[Poll]) -> None:
    """Of a second alert."""
    seed.firings.append(Told("f2", {}, moment(3), None))
    seed.polls += told


def unheard_end(seed: Any, told: list[Poll]) -> None:
    """Some peer had listed it."""
    seed.firings[:] = [Told("f1", {}, moment(0), moment(5))]
    seed.episode.update(is_listed=True)
    seed.polls += [Poll(1, moment(4), frozenset({"f1"}), frozenset(), is_young=False), *told]


def unlisted_end(seed: Any, told: list[Poll]) -> None:
    seed.firings[:] = [Told("f1", {}, moment(0), moment(5))]
    seed.polls += told


def hidden_start(seed: Any, told: list[Poll]) -> None:
    """An older peer tells nobody of it."""
    unheard_start(seed, told)
    seed.polls += polls(13, "f2", peers=(1,), suppressed=("f2",))


@pytest.mark.parametrize(("wrong", "found"), WRONG, ids=[found for _, found in WRONG])
def test_what_is_wrong_is_found(wrong: Wrong, found: str) -> None:
    wrong(broken := seed())

    assert any(found in violation.what for violation in at_rest(evidence(broken)))


@pytest.mark.parametrize(
    ("heard", "told"),
    [
        pytest.param(unheard_start, polls(11, "f2"), id="a replica may have died with each of the few lists it was in"),
        pytest.param(unheard_start, polls(12), id="no list had it"),
        pytest.param(unheard_start, polls(12, "f2", suppressed=("f2",)), id="all lists had it as suppressed"),
        pytest.param(hidden_start, polls(12, "f2", peers=(0,), is_young=True), id="who has just started may be wrong"),
        pytest.param(unlisted_end, polls(12), id="no list ever had it"),
        pytest.param(stay_silenced, polls(12, "f1", suppressed=("f1",)), id="it is silenced yet"),
        pytest.param(stay_silenced, polls(11, "f1"), id="each list may have been in the hands of one who died"),
        pytest.param(unheard_end, polls(12, "f1"), id="all lists had it yet"),
        pytest.param(unheard_end, polls(12, peers=(0,)), id="the other peer may list it"),
        pytest.param(unheard_end, polls(12, is_young=True), id="who has just started knows of nothing"),
    ],
)
def test_what_no_poll_could_tell_need_not_be_known(heard: Callable[..., None], told: list[Poll]) -> None:
    heard(unknown := seed(), told)

    assert [violation for violation in at_rest(evidence(unknown)) if "polls told" in violation.what] == []


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(lambda s: s.incident.update(acknowledged_by=""), id="paged"),
        pytest.param(withdraw, id="acknowledged"),
        pytest.param(
            lambda s: s.incident.update(acknowledged_by="", status="resolved", resolution="resolved by bob"),
            id="resolved by a person",
        ),
    ],
)
def test_what_nobody_can_tell_of_and_a_person_was_told_of_is_well(told: Callable[[Any], object]) -> None:
    tell_unknown(unsure := seed())
    told(unsure)

    assert not [violation for violation in at_rest(evidence(unsure)) if "nobody can tell" in violation.what]


def test_an_undo_that_nobody_can_tell_of_has_a_page_of_its_own() -> None:
    unsure = seed()
    unsure.intents.append(intent_later(unsure, undoes="i1", state="unknown"))
    unsure.pages.append(another(unsure, dedup_key="1:left:i1:alice"))

    assert not [violation for violation in at_rest(evidence(unsure)) if "nobody can tell" in violation.what]


@pytest.mark.parametrize("recorded", ["done", "unknown"])
def test_what_a_frozen_replica_wrote_is_told_when_it_wakes_and_its_incident_takes_nothing_back(recorded: str) -> None:
    """Another had looked in vain and gone on, with another fix."""
    late = seed()
    tell_late(late, f"{recorded}: scaled")
    late.intent.update(state=recorded)
    late.incident.update(progress={})
    late.pages.append(another(late, dedup_key="1:left:i1:alice"))
    late.told.append(entry("page", "paging alice (pager)", path="escalate[0]"))
    late.arrivals.append(Arrival("pager", "1:left:i1:alice", 1, "page"))
    late.intents.append(intent_later(late, state="failed"))
    late.told.append(entry("fix", "failed: not scaled", data={"intent": "i2"}))
    late.reservations.append({"key": "scale-0", "intent_id": "i2", "units": 1})
    late.standstills.clear()

    assert at_rest(evidence(late)) == []


def test_what_somebody_saw_in_the_world_may_have_been_written_before_by_another() -> None:
    seen = seed()
    see_done(seen)
    seen.intent.update(begun_at=moment(2.7))
    seen.writes.clear()
    seen.standstills.clear()

    assert at_rest(evidence(seen)) == []


@pytest.mark.parametrize(
    ("method", "suffix"), [pytest.param("DELETE", "", id="deleted"), pytest.param("POST", "/eviction", id="evicted")]
)
def test_a_pod_is_gone_whichever_way_it_went(method: str, suffix: str) -> None:
    gone = seed()
    see_done(gone)
    pod = "/api/v1/namespaces/prod/pods/replace-0-a"
    gone.intent.update(
        plan=PLAN | {"calls": [{"system": "kubernetes", "method": "POST", "resource": f"{pod}/eviction", "body": {}}]}
    )
    gone.effects[:] = [replace(write(2.5), method=method, path=pod + suffix)]
    gone.writes.clear()

    assert at_rest(evidence(gone)) == []


def taken_back(seed: Any, *, to: int) -> None:
    """The fix of the seed, which had scaled from 2 to 3."""
    seed.intents.append(intent_later(seed, undoes="i1", plan=PLAN | {"undo_after": None}))
    seed.effects.append(write(4.5))
    seed.incident.update(progress={})
    seed.replicas["scale-0"] = to


@pytest.mark.parametrize(
    ("changes", "is_found"),
    [
        pytest.param(lambda s: taken_back(s, to=2), False, id="as large as it was"),
        pytest.param(lambda s: taken_back(s, to=3), True, id="as the fix had left it"),
        pytest.param(lambda s: None, False, id="it is not taken back yet"),
        pytest.param(
            lambda s: (taken_back(s, to=3), s.intents.append(intent_later(s, id="i3", state="unknown"))),
            False,
            id="nobody can tell what else was done",
        ),
    ],
)
def test_what_is_taken_back_is_as_it_was(changes: Wrong, *, is_found: bool) -> None:
    changes(scaled := seed())

    found = [violation.what for violation in at_the_end(evidence(scaled)) if "is taken back" in violation.what]

    assert found == (["all that scaled scale-0 is taken back, from 2 to 3 replicas"] if is_found else [])


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(lambda s: another(s, dedup_key="1:resolved:alice", kind="resolved"), id="with its end"),
        pytest.param(lambda s: another(s, dedup_key="1:1:0:alice:resolved", kind="resolved"), id="after a late page"),
    ],
)
def test_who_was_paged_and_told_of_the_end_knows(told: Callable[[Any], Any]) -> None:
    over = seed()
    over.incident.update(status="resolved")
    over.pages.append(told(over))

    assert not [violation for violation in at_rest(evidence(over)) if "never told that it ended" in violation.what]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"dedup_key": "1:left:i1:alice"}, id="of what is left behind"),
        pytest.param({"kind": "review"}, id="of a dry run"),
        pytest.param({"state": "failed", "error": "withdrawn"}, id="that nobody has"),
    ],
)
def test_a_page_that_is_none_of_its_chain_or_reached_nobody_has_no_end(changes: dict[str, str]) -> None:
    over = seed()
    over.incident.update(status="resolved")
    over.page.update(changes)

    assert not [violation for violation in at_rest(evidence(over)) if "never told that it ended" in violation.what]


@pytest.mark.parametrize(
    ("pager", "is_found"), [(PagerFault.ALL_DEAD, False), (PagerFault.REFUSES, True)], ids=["all are dead", "one is"]
)
def test_nobody_can_be_paged_where_no_channel_takes_anything(pager: PagerFault, *, is_found: bool) -> None:
    dead = seed()
    dead.pager = pager
    fail(dead)
    dead.arrivals.clear()
    dead.incident.update(acknowledged_by="")

    assert any("nobody was paged" in violation.what for violation in at_rest(evidence(dead))) is is_found


def test_who_was_told_that_a_plan_is_approved_reads_it_in_the_timeline() -> None:
    approved = seed()
    approve(approved, plan="0123")
    approved.approved.append(Approved(1, "0123"))

    assert not [violation for violation in at_rest(evidence(approved)) if "with a 200" in violation.what]


@pytest.mark.parametrize(
    ("ends_at", "waits"), [pytest.param(5, True, id="its end"), pytest.param(-1, False, id="an end before it")]
)
def test_nothing_rests_while_an_end_has_crossed_its_start(ends_at: float, *, waits: bool) -> None:
    crossed = seed()
    crossed.again.append(crossed.episode | {"id": 2, "ends_at": moment(ends_at), "closed_at": moment(6)})

    unrest = evidence(crossed).books.unrest()

    assert unrest == (["the end of f1 crossed its start, and nobody has looked yet"] if waits else [])


@pytest.mark.parametrize("at", [pytest.param(1.7, id="of one moment the last"), pytest.param(1.99, id="just before")])
def test_a_fix_may_be_begun_as_soon_as_its_alert_is_heard_again(at: float) -> None:
    heard = seed()
    silence(heard, at=1.7)
    heard.told.append(entry("alert", "Scale is no longer suppressed at its source (am); it was by a", at=at))

    assert at_rest(evidence(heard)) == []


def test_a_late_start_may_open_nothing_where_its_end_was_told_before() -> None:
    late = seed()
    late.episode.update(starts_at=moment(2), opened_at=moment(3))
    late.again.append(late.episode | {"id": 2, "starts_at": moment(0), "ends_at": moment(0.5), "closed_at": moment(1)})
    late.again[0]["opened_at"] = moment(1)

    assert not [violation for violation in at_rest(evidence(late)) if "is nowhere" in violation.what]


def test_what_has_ended_may_be_closed_also_where_it_fires_anew_before_anybody_hears_of_the_end() -> None:
    again = seed()
    again.episode.update(closed_at=moment(7), ends_at=moment(5))
    again.again.append(again.episode | {"id": 2, "starts_at": moment(6), "closed_at": None, "ends_at": None})
    again.firings[:] = [Told("f1", {}, moment(0), moment(5)), Told("f1", {}, moment(6), None)]

    assert at_rest(evidence(again)) == []


def test_what_went_on_in_another_incident_was_the_alert_of_the_one_that_was_closed() -> None:
    adopted = seed()
    adopted.episode.update(incident_id=2)
    adopted.told.append(entry("alert", "goes on in incident 2: Scale", data={"incident": 2, "episodes": [1]}))

    assert at_rest(evidence(adopted)) == []


def test_a_person_who_has_said_yes_to_the_very_plan_is_enough_in_suggest_mode() -> None:
    approve(suggested := seed())

    assert at_rest(evidence(suggested)) == []


def test_a_dry_run_that_is_told_as_one_is_well() -> None:
    dry = seed()
    dry.mode, dry.writes, dry.intents, dry.reservations = Mode.OBSERVE, [], [], []
    dry.incident.update(progress={})
    dry.told[1:] = [entry("page", "would page alice (observe mode)", path="escalate[0]")]
    dry.page.update(kind="review")
    dry.arrivals[:] = [replace(dry.arrivals[0], kind="review", title="[dry run] Scale")]

    assert at_rest(evidence(dry)) == []


def begin_without_its_rule(seed: Any) -> None:
    """Somebody, while it was wrong."""
    seed.editions[2] = replace(seed.editions[2], lacks="scale")
    seed.births.append(moment(4.5))


def test_who_begins_while_one_rule_is_wrong_goes_by_the_others() -> None:
    without = seed()
    begin_without_its_rule(without)
    without.incident.update(rule_version="v2", opened_at=moment(5))
    without.begun_with[1] = "v2"

    assert not [violation for violation in at_rest(evidence(without)) if "which is broken" in violation.what]


@pytest.mark.parametrize(
    ("closed_at", "waits", "is_lost"),
    [
        pytest.param(None, ["nobody works on episode 2 yet"], True, id="it fires: its rule will be back"),
        pytest.param(moment(6), [], False, id="it is over before its rule was back"),
    ],
)
def test_what_nobody_had_a_rule_for_is_looked_for_while_it_fires(
    closed_at: datetime | None, waits: list[str], *, is_lost: bool
) -> None:
    without = seed()
    begin_without_its_rule(without)
    unseen = {"id": 2, "fingerprint": "f2", "incident_id": None, "opened_at": moment(5), "closed_at": closed_at}
    without.again.append(without.episode | unseen)

    lost = [violation for violation in at_rest(evidence(without)) if "opened no incident" in violation.what]

    assert (nobodys(evidence(without)), bool(lost)) == (waits, is_lost)


@pytest.mark.parametrize(
    "at",
    [
        pytest.param(2.1, id="afterwards"),
        pytest.param(1.9, id="and not yet: that is being committed"),
        pytest.param(0.5, id="and no longer"),
    ],
)
def test_a_fix_may_be_begun_while_nobody_is_known_to_silence_its_alert(at: float) -> None:
    silence(silenced := seed(), at=at)

    assert at_rest(evidence(silenced)) == []


def test_who_was_not_answered_cannot_say_whether_a_body_is_kept() -> None:
    unsure = seed()
    unsure.in_part.answers.clear()

    kept = at_rest(evidence(unsure))
    unsure.quarantine.pop(0)
    unsure.unwanted.remove("u2")

    assert (kept, at_rest(evidence(unsure))) == ([], [])


def test_a_page_may_go_out_again_where_its_sender_lost_it() -> None:
    twice = seed()
    twice.arrivals.append(twice.arrivals[0])
    twice.taken["1:1:0:alice"] = 1

    assert at_rest(evidence(twice)) == []


def test_a_page_may_go_out_again_where_nobody_answered() -> None:
    twice = seed()
    twice.arrivals.insert(0, replace(twice.arrivals[0], was_answered=False))

    assert at_rest(evidence(twice)) == []


def test_an_acknowledgement_that_ran_out_is_no_broken_promise() -> None:
    lapsed = seed()
    lapsed.incident.update(status="triggered", acknowledged_by="")
    lapsed.told.append(entry("page", "the acknowledgement by alice has run out: the chain starts again"))

    assert at_rest(evidence(lapsed)) == []


def test_at_the_end_nothing_is_open() -> None:
    found = [violation.what for violation in at_the_end(evidence(seed()))]

    assert found == ["episode 1 of f1 is still open", "incident 1 is acknowledged, handed_over"]


@pytest.mark.parametrize(
    ("checked", "is_told"), [("NOT ok: 1 of 3 ready", False), ("ok: 3 of 3 ready", True), ("", True)]
)
def test_what_is_not_healthy_after_a_fix_that_failed_its_proof_is_closed_by_a_person(
    checked: str, *, is_told: bool
) -> None:
    unwell = seed()
    unwell.incident["progress"] = {"attempts": [{"step": 0, "result": "ineffective"}], "checked": checked}

    found = [violation.what for violation in at_the_end(evidence(unwell))]

    assert ("incident 1 is acknowledged, handed_over" in found) is is_told


def test_what_was_never_listed_and_whose_end_nobody_told_may_stay_open() -> None:
    """Unless somebody was told, or nobody asks the peers."""
    left = seed()
    left.polls = polls(1)
    told = replace(left.polls[0], listed=frozenset({"f1"}))
    ended = Delivery(0, (Told("f1", {}, moment(0), moment(2)),), 0, 202, 9, moment(3))

    def found(**changes: Any) -> list[str]:
        return [v.what for v in at_the_end(replace(evidence(left), **changes)) if "open" in v.what]

    assert found() == []
    assert found(deliveries=[ended]) == found(polls=[]) == ["episode 1 of f1 is still open"]
    left.episode.update(is_listed=True)
    assert found(polls=[told]) == ["episode 1 of f1 is still open"]
