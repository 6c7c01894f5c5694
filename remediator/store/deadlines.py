"""What must be sent even where the database is lost, read ahead of time: pages that wait, and escalations soon due."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import cache, partial
from typing import Any, TypeVar

from remediator.domain.escalation import EscalationPolicy, Severity
from remediator.domain.ids import IncidentId
from remediator.domain.last_resort import Call, Deadlines, RunningChain, WaitingPage
from remediator.domain.mode import Mode
from remediator.domain.notification import Notification
from remediator.domain.oncall import Contact
from remediator.store.database import Connection
from remediator.store.documents import UNREADABLE, from_json

T = TypeVar("T")

HORIZON = timedelta(hours=1)

# IS true keeps it to the index by time: the one by kind would have to read and sort every page that waits.
WAITING_PAGES = """
SELECT notification::text, reach::text, due_at - now() AS due_in FROM outbox
WHERE due_at <= now() + $1::interval AND (kind = 'page') IS true ORDER BY due_at LIMIT $2
"""
RUNNING_CHAINS = """
SELECT e.incident_id, i.title, i.mode, e.severity::text, e.policy::text, e.run, e.due_at - now() AS due_in,
       now() - e.started_at AS since_start
FROM escalations e JOIN incidents i ON i.id = e.incident_id
WHERE e.due_at <= now() + $1::interval ORDER BY e.due_at LIMIT $2
"""


async def upcoming(connection: Connection, now: Callable[[], timedelta], *, at_most: int) -> Deadlines:
    """`now` reads the clock that the moments are to be told by. What cannot be read is left out: the escalation clock
    tells of it when it strikes."""
    pages = await connection.fetch(WAITING_PAGES, HORIZON, at_most)
    chains = await connection.fetch(RUNNING_CHAINS, HORIZON, at_most)
    at = now()
    policy = cache(partial(from_json, kind=EscalationPolicy))
    severity = cache(partial(from_json, kind=Severity))
    return Deadlines.of(
        [
            *_readable(pages, lambda row: _page(row, at)),
            *_readable(chains, lambda row: _chain(row, at, policy(row["policy"]), severity=severity(row["severity"]))),
        ],
        at_most=at_most,
    )


def _readable(rows: Iterable[Any], read: Callable[[Any], T]) -> Iterator[T]:
    for row in rows:
        with suppress(*UNREADABLE):
            yield read(row)


def _page(row: Any, at: timedelta) -> WaitingPage:
    note = from_json(row["notification"], Notification)
    reach = from_json(row["reach"], tuple[Contact, ...])
    calls = tuple(Call(note.recipient, note.dedup_key, contact) for contact in reach)
    return WaitingPage(note, calls, at + row["due_in"])


def _chain(row: Any, at: timedelta, policy: EscalationPolicy, *, severity: Severity) -> RunningChain:
    return RunningChain(
        incident=IncidentId(row["incident_id"]),
        title=row["title"],
        severity=severity.name,
        urgent=severity.urgent,
        mode=Mode(row["mode"]),
        policy=policy,
        run=row["run"],
        started=None if row["since_start"] is None else at - row["since_start"],
        due=at + row["due_in"],
    )
