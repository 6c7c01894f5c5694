"""When a seed has come to rest, and what can be seen of it then."""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from copy import copy
from typing import TYPE_CHECKING, Any

from tests.fakes.alertmanager_peers import told
from tests.faults.believed import ENOUGH_POLLS, gaps
from tests.faults.books import Books, read
from tests.faults.evidence import Evidence
from tests.faults.fleet import Replica
from tests.faults.people import PATIENCE, REFUSALS
from tests.faults.scenario import REST_WITHIN
from tests.faults.versions import nobodys

if TYPE_CHECKING:
    from tests.faults.world import World

_LOOKS_APART = 0.15
_UNREADABLE = "the database cannot be read"


async def rest(world: "World") -> Evidence:
    """When nothing has been under way for two looks in a row. Fails with what will not come to rest."""
    ends = time.monotonic() + REST_WITHIN
    calm, unrest = 0, [_UNREADABLE]
    while time.monotonic() < ends:
        await asyncio.sleep(_LOOKS_APART)
        seen = _seen(world)
        books = await read(world.reading)
        if books is None:
            calm, unrest = 0, [_UNREADABLE]
            continue
        evidence = _evidence(world, books, seen)
        unrest = await _unrest(world, evidence)
        calm = 0 if unrest else calm + 1
        if calm == 2:
            return evidence
    raise TimeoutError(f"stuck after {REST_WITHIN:.0f} s: {'; '.join(unrest) or 'at rest for one look, not for two'}")


def _seen(world: "World") -> dict[str, tuple[Any, ...]]:
    """What our own state must know of: taken before it is read, for the world goes on meanwhile."""
    return {
        "writes": tuple(map(copy, world.cluster.requests.writes)),
        "arrivals": tuple(world.inbox.arrivals),
        "deliveries": tuple(world.alertmanager.deliveries),
        "answered": tuple(world.people.answered),
        "approved": tuple(world.people.approved),
        "polls": tuple(world.polled.polls),
        "probes": tuple(world.outages.probes),
        "standstills": tuple(world.people.standstills),
        "knocks": tuple(world.crowd.knocks),
    }


def _evidence(world: "World", books: Books, seen: Mapping[str, tuple[Any, ...]]) -> Evidence:
    world.last = books
    return Evidence(
        mode=world.scenario.mode,
        books=books,
        **seen,
        sent=tuple(sent.copy() for sent in world.crowd.sent),
        editions=tuple(world.rules.editions),
        taken=world.passing.taken.copy(),
        inbox=world.inbox.copy(),
        effects=tuple(map(copy, world.cluster.requests.effects)),
        replicas=world.alarms.replicas(),
        firings=tuple(map(told, (*world.truth.history, *world.crowd.firings))),
        births=tuple(world.fleet.births),
        begun_with=world.beginnings.of(books),
        thawed=tuple(world.thawed),
    )


async def _unrest(world: "World", evidence: Evidence) -> list[str]:
    return [
        *evidence.books.unrest(),
        *nobodys(evidence),
        *_unheard(world, evidence),
        *world.fleet.unrest(),
        *await _unready(world),
    ]


async def _unready(world: "World") -> list[str]:
    """Who has not noticed that something comes through again."""
    if not world.scenario.hangs_database:
        return []
    return [
        f"the daemon on port {replica.port} is not ready"
        for replica in world.fleet.replicas
        if not await _is_ready(world, replica)
    ]


async def _is_ready(world: "World", replica: Replica) -> bool:
    with suppress(*REFUSALS):
        async with world.session.get(f"{replica.url}/readyz", timeout=PATIENCE) as answer:
            return answer.status == 200
    return False


def _unheard(world: "World", evidence: Evidence) -> list[str]:
    """What nobody could know of yet."""
    if world.scenario.polling is None:
        return _untold(world)
    return [gap.what for gap in gaps(evidence) if gap.goes_on and gap.polls < ENOUGH_POLLS]


def _untold(world: "World") -> list[str]:
    """Alerts that fire and that nobody was told of yet. Truncated groups may never tell of some."""
    if world.scenario.max_alerts:
        return []
    heard = {(a.fingerprint, a.starts_at) for d in world.alertmanager.deliveries if d.is_accepted for a in d.alerts}
    return [
        f"nobody was told of {firing.labels['deployment']}"
        for firing in world.truth.latest()
        if not firing.is_over and (firing.fingerprint, firing.starts_at) not in heard
    ]
