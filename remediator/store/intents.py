"""The journal of writes: begun before the world is touched, finished after, read back after a crash."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from remediator.domain.budget import Budget
from remediator.domain.errors import BudgetSpent, NotAllowed, NotFound
from remediator.domain.ids import IncidentId, IntentId
from remediator.domain.incident import Intent, IntentResult, IntentState
from remediator.domain.ledger import free_in
from remediator.domain.plan import Plan
from remediator.marks import Mark, reached
from remediator.store import ledger
from remediator.store.database import Connection, clean
from remediator.store.documents import from_document, to_document


@dataclass(frozen=True, slots=True)
class StoredIntent:
    intent: Intent
    epoch: int
    """The claim that journalled it: only that one may run it."""
    state: IntentState
    detail: str


async def begin(tx: Connection, intent: Intent, *, epoch: int) -> None:
    """The last judgement before a write, under lock. Raises `NotAllowed` or `BudgetSpent`: nothing is journalled."""
    await _still_allowed(tx, intent)
    await _reserve(tx, intent.budgets)
    await tx.execute(
        """INSERT INTO intents (id, incident_id, path, plan, timeout, epoch, undoes)
           VALUES ($1, $2, $3, $4, $5, $6, $7)""",
        UUID(intent.id),
        intent.incident,
        intent.path,
        to_document(intent.plan),
        intent.timeout,
        epoch,
        UUID(intent.undoes) if intent.undoes else None,
    )
    await tx.executemany(
        "INSERT INTO reservations (key, intent_id, units) VALUES ($1, $2, $3)",
        [(budget.key, UUID(intent.id), budget.units) for budget in intent.budgets],
    )
    reached(Mark.INTENT_WRITTEN)


async def _still_allowed(tx: Connection, intent: Intent) -> None:
    row = await tx.fetchrow(
        """SELECT k.is_on, k.reason, i.status <> 'resolved' AS is_open,
                  COALESCE(i.lease_until - clock_timestamp() > $2, false) AS in_time,
                  EXISTS (SELECT FROM episodes e WHERE e.incident_id = i.id AND e.closed_at IS NULL) AS firing,
                  (SELECT min(e.suppressed_by) FROM episodes e
                   WHERE e.incident_id = i.id AND e.closed_at IS NULL) AS suppressed_by
           FROM incidents i, kill_switch k WHERE i.id = $1 FOR SHARE OF k""",
        intent.incident,
        intent.timeout,
    )
    if row is None or row["is_on"]:
        raise NotAllowed(f"the kill switch is on: {row['reason'] if row else 'unknown'}")
    if not row["in_time"]:
        raise NotAllowed("the lease has less time left than the write may take")
    if intent.undoes is None and not (row["is_open"] and row["firing"]):
        raise NotAllowed("the alert no longer fires, or the incident was resolved")
    if intent.undoes is None and row["suppressed_by"]:  # the least is empty while any alert of it is not suppressed
        raise NotAllowed(f"the alert is suppressed at its source: {row['suppressed_by']}")


async def _reserve(tx: Connection, budgets: Sequence[Budget]) -> None:
    """One replica at a time: the budgets' rows are locked in the order of their keys."""
    if not budgets:
        return
    keys = sorted({budget.key for budget in budgets})
    await tx.execute("INSERT INTO budgets SELECT unnest($1::text[]) ON CONFLICT DO NOTHING", keys)
    await tx.execute("SELECT FROM budgets WHERE key = ANY($1) ORDER BY key FOR UPDATE", keys)
    spent = await ledger.reservations(tx, keys)
    now = await tx.fetchval("SELECT clock_timestamp()")
    for budget in budgets:
        wait = free_in(budget, spent, now)
        if wait is not None:
            raise BudgetSpent(budget.key, free_in_seconds=wait.total_seconds())


async def finish(tx: Connection, result: IntentResult) -> None:
    """Safe to repeat: the first result counts."""
    await tx.execute(
        """UPDATE intents SET state = $2, detail = $3, finished_at = clock_timestamp()
           WHERE id = $1 AND state = 'begun'""",
        UUID(result.id),
        result.result,
        clean(result.detail),
    )


async def get(connection: Connection, intent: IntentId) -> StoredIntent:
    row = await connection.fetchrow(f"{_SELECT} WHERE id = $1", UUID(intent))
    if row is None:
        raise NotFound(f"there is no intent {intent}")
    return _stored(row)


async def of_incident(connection: Connection, incident: IncidentId) -> list[StoredIntent]:
    rows = await connection.fetch(f"{_SELECT} WHERE incident_id = $1 ORDER BY begun_at", incident)
    return [_stored(row) for row in rows]


_SELECT = "SELECT id, incident_id, path, plan, timeout, epoch, state, detail, undoes FROM intents"


def _stored(row: Any) -> StoredIntent:
    intent = Intent(
        id=IntentId(str(row["id"])),
        incident=IncidentId(row["incident_id"]),
        path=row["path"],
        plan=from_document(row["plan"], Plan),
        timeout=row["timeout"],
        undoes=IntentId(str(row["undoes"])) if row["undoes"] else None,
    )
    return StoredIntent(intent, row["epoch"], IntentState(row["state"]), row["detail"])
