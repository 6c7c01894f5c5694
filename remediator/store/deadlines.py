"""What must be sent even where the database is lost, read ahead of time: pages that wait, and escalations soon due."""

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from functools import cache, partial
from typing import Any

from remediator.domain.escalation import EscalationPolicy, Severity
from remediator.domain.ids import IncidentId, RuleVersion
from remediator.domain.last_resort import Call, Deadlines, RunningChain, WaitingPage
from remediator.domain.mode import Mode
from remediator.domain.notification import Notification
from remediator.domain.oncall import Contact
from remediator.store.database import Connection
from remediator.store.documents import from_json, readable

HORIZON = timedelta(hours=1)

# IS true keeps it to the index by time: the one by kind would have to read and sort every page that waits.
WAITING_PAGES = """
SELECT id, notification::text, reach::text, due_at - now() AS due_in FROM outbox
WHERE due_at <= now() + $1::interval AND (kind = 'page') IS true ORDER BY due_at LIMIT $2
"""
_CHAINS = """
SELECT e.incident_id, i.rule_version, i.title, i.mode, e.severity::text, e.policy::text, e.run,
       e.due_at - now() AS due_in, now() - e.started_at AS since_start
FROM escalations e JOIN incidents i ON i.id = e.incident_id
"""
RUNNING_CHAINS = f"{_CHAINS} WHERE e.due_at <= now() + $1::interval ORDER BY e.due_at LIMIT $2"
_SETTLED = f"""{_CHAINS}
WHERE e.incident_id = ANY($1::bigint[])
    AND (i.status = 'resolved' OR i.status = 'acknowledged' AND e.due_at > now())
"""


async def upcoming(connection: Connection, now: Callable[[], timedelta], *, at_most: int) -> Deadlines:
    """`now` reads the clock that the moments are to be told by. What cannot be read is left out: the escalation clock
    tells of it when it strikes."""
    chains = await connection.fetch(RUNNING_CHAINS, HORIZON, at_most)
    # After them: what is ordered meanwhile is known twice, not missed.
    pages = await connection.fetch(WAITING_PAGES, HORIZON, at_most)
    at = now()
    return Deadlines.of([*readable(pages, partial(_page, at=at)), *_running(chains, at)], at_most=at_most)


async def settled(
    connection: Connection, now: Callable[[], timedelta], incidents: Iterable[IncidentId]
) -> dict[IncidentId, RunningChain | None]:
    """Which of them are over (None), or in somebody's hands: such a chain starts again when that has run out."""
    rows = await connection.fetch(_SETTLED, list(incidents))
    acknowledged = _running([row for row in rows if row["due_in"] is not None], now())
    return {row["incident_id"]: None for row in rows} | {chain.incident: chain for chain in acknowledged}


def _page(row: Any, at: timedelta) -> WaitingPage:
    note = from_json(row["notification"], Notification)
    reach = from_json(row["reach"], tuple[Contact, ...])
    calls = tuple(Call(note.recipient, note.dedup_key, contact) for contact in reach)
    return WaitingPage(note, calls, at + row["due_in"])


def _running(rows: Sequence[Any], at: timedelta) -> list[RunningChain]:
    policy, severity = cache(partial(from_json, kind=EscalationPolicy)), cache(partial(from_json, kind=Severity))
    return readable(rows, lambda row: _chain(row, at, policy(row["policy"]), severity=severity(row["severity"])))


def _chain(row: Any, at: timedelta, policy: EscalationPolicy, *, severity: Severity) -> RunningChain:
    return RunningChain(
        incident=IncidentId(row["incident_id"]),
        rule_version=RuleVersion(row["rule_version"]),
        title=row["title"],
        severity=severity.name,
        urgent=severity.urgent,
        mode=Mode(row["mode"]),
        policy=policy,
        run=row["run"],
        started=None if row["since_start"] is None else at - row["since_start"],
        due=at + row["due_in"],
    )
