"""The journal of writes: begun before the world is touched, finished after, read back after a crash."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from remediator.domain.budget import Budget
from remediator.domain.errors import BudgetSpent, NotAllowed, NotFound
from remediator.domain.ids import IncidentId, IntentId
from remediator.domain.incident import Intent, IntentResult, IntentState, JournalledIntent
from remediator.domain.ledger import Reservation, free_in, spends
from remediator.domain.plan import Plan
from remediator.language.duration import format_duration
from remediator.marks import Mark, reached
from remediator.store import ledger
from remediator.store.database import Connection, clean, is_storable, to_json
from remediator.store.documents import from_json
from remediator.store.incidents import ITS_OWN

Refusal = NotAllowed | BudgetSpent


class Begun(msgspec.Struct, frozen=True):
    """An intent to be journalled, and the claim that may run it."""

    intent: Intent
    epoch: int


async def begin(tx: Connection, wanted: Sequence[Begun]) -> list[Refusal | None]:
    """The last judgement before each write, under lock; what is refused is not journalled. In the order given: of two
    that want the last of a budget, the first has it."""
    if not wanted:
        return []
    refused = await _not_allowed(tx, wanted)
    refused = await _within_budgets(tx, wanted, refused)
    await _journal(tx, [begun for begun, refusal in zip(wanted, refused, strict=True) if refusal is None])
    reached(Mark.INTENT_WRITTEN)
    return refused


_STILL_ALLOWED = f"""
SELECT i.id, k.is_on, k.reason, i.status <> 'resolved' AS is_open,
    COALESCE(i.lease_until - clock_timestamp() > w.timeout, false) AS in_time,
    (SELECT min(e.suppressed_by) FILTER (WHERE e.closed_at IS NULL) FROM episodes e WHERE {ITS_OWN}) AS suppressed_by
FROM unnest($1::bigint[], $2::interval[]) w(id, timeout) JOIN incidents i USING (id), kill_switch k
FOR SHARE OF k
"""  # noqa: S608  # constants only


async def _not_allowed(tx: Connection, wanted: Sequence[Begun]) -> list[Refusal | None]:
    rows = await tx.fetch(_STILL_ALLOWED, [w.intent.incident for w in wanted], [w.intent.timeout for w in wanted])
    facts = {row["id"]: row for row in rows}
    return [
        _not_as_rehearsed(begun.intent) or _why_not(begun.intent, facts.get(begun.intent.incident)) for begun in wanted
    ]


def _not_as_rehearsed(intent: Intent) -> NotAllowed | None:
    """What is written is what the journal gives back."""
    if is_storable(intent.plan):
        return None
    return NotAllowed("the plan holds what no journal can: a NUL, or half a character")


def _why_not(intent: Intent, facts: Any) -> NotAllowed | None:
    if facts is None or facts["is_on"]:
        return NotAllowed(f"the kill switch is on: {facts['reason'] if facts else 'unknown'}")
    if not facts["in_time"]:
        needed = format_duration(intent.timeout)
        return NotAllowed(f"the lease has less left than the {needed} that the write may take (engine.lease_seconds)")
    if intent.undoes is not None:
        return None
    if facts["suppressed_by"] is None or not facts["is_open"]:
        return NotAllowed("the alert no longer fires, or the incident was resolved")
    if facts["suppressed_by"]:
        return NotAllowed(f"the alert is suppressed at its source: {facts['suppressed_by']}")
    return None


# An update that is made of no row still locks each that it is about; those that are new are ours until we commit.
_LOCK_BUDGETS = """
INSERT INTO budgets SELECT key FROM unnest($1::text[]) key ORDER BY key
ON CONFLICT (key) DO UPDATE SET key = excluded.key WHERE false
"""


async def _within_budgets(
    tx: Connection, wanted: Sequence[Begun], refused: Sequence[Refusal | None]
) -> list[Refusal | None]:
    """One replica at a time: the budgets' rows are locked in the order of their keys. The key with the window is what
    the release before locks; the key without is what those share whose windows differ."""
    budgets = {budget for begun in wanted for budget in begun.intent.budgets}
    if not budgets:
        return list(refused)
    keys = {key for budget in budgets for key in budget.keys}
    await tx.execute(_LOCK_BUDGETS, sorted(keys | {ledger.stored_key(budget) for budget in budgets}))
    ledger_now = await ledger.snapshot(tx, budgets)
    now, spent = ledger_now.now, ledger_now.reservations
    judged: list[Refusal | None] = []
    for begun, earlier in zip(wanted, refused, strict=True):
        refusal = earlier or _overspent(begun.intent.budgets, spent, now)
        if refusal is None:
            spent += spends(begun.intent.budgets, at=now)
        judged.append(refusal)
    return judged


def _overspent(budgets: Sequence[Budget], spent: tuple[Reservation, ...], now: datetime) -> BudgetSpent | None:
    for budget in budgets:
        wait = free_in(budget, spent, now)
        if wait is not None:
            return BudgetSpent(budget.key, free_in_seconds=wait.total_seconds())
    return None


_JOURNAL = """
WITH journalled AS (
    INSERT INTO intents (id, incident_id, path, plan, timeout, epoch, undoes)
    SELECT id, incident_id, path, plan::jsonb, timeout, epoch, undoes
    FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::interval[], $6::bigint[], $7::uuid[])
        w(id, incident_id, path, plan, timeout, epoch, undoes)
)
INSERT INTO reservations (key, intent_id, units) SELECT * FROM unnest($8::text[], $9::uuid[], $10::int[])
"""


async def _journal(tx: Connection, allowed: Sequence[Begun]) -> None:
    if not allowed:
        return
    intents = [begun.intent for begun in allowed]
    spent = [(key, intent, units) for intent in intents for key, units in ledger.stored_spends(intent.budgets).items()]
    await tx.execute(
        _JOURNAL,
        [UUID(intent.id) for intent in intents],
        [intent.incident for intent in intents],
        [intent.path for intent in intents],
        [to_json(intent.plan) for intent in intents],
        [intent.timeout for intent in intents],
        [begun.epoch for begun in allowed],
        [UUID(intent.undoes) if intent.undoes else None for intent in intents],
        [key for key, _, _ in spent],
        [UUID(intent.id) for _, intent, _ in spent],
        [units for _, _, units in spent],
    )


_FINISH = """
UPDATE intents i SET state = r.state, detail = r.detail, finished_at = clock_timestamp()
FROM unnest($1::uuid[], $2::text[], $3::text[]) r(id, state, detail)
WHERE i.id = r.id AND i.state = 'begun'
"""


async def finish(tx: Connection, results: Sequence[IntentResult]) -> None:
    """Safe to repeat: the first result counts."""
    if results:
        await tx.execute(
            _FINISH,
            [UUID(result.id) for result in results],
            [result.result for result in results],
            [clean(result.detail) for result in results],
        )


_CAME_LATE = """
UPDATE intents SET state = $2, detail = $3 || ' (recorded before: ' || detail || ')', finished_at = clock_timestamp()
WHERE id = $1 AND (state = 'failed' AND $2 IN ('done', 'unknown') OR state = 'unknown' AND $2 = 'done')
"""


async def correct(tx: Connection, late: IntentResult) -> bool:
    """What a claim did, or may have done, after a later one had looked and recorded less. Whether it is so."""
    status = await tx.execute(_CAME_LATE, UUID(late.id), late.result, clean(late.detail))
    return bool(status == "UPDATE 1")


async def results(connection: Connection, wanted: Sequence[IntentId]) -> list[IntentResult]:
    """What is recorded of them, also where their plan cannot be read; nothing of those that are not there."""
    rows = await connection.fetch(
        "SELECT id::text, state, detail FROM intents WHERE id = ANY($1::uuid[])", [UUID(intent) for intent in wanted]
    )
    return [IntentResult(IntentId(row["id"]), IntentState(row["state"]), row["detail"]) for row in rows]


async def get_many(connection: Connection, wanted: Sequence[IntentId]) -> list[JournalledIntent]:
    """In the order asked for. Raises `NotFound` where one is missing."""
    rows = await connection.fetch(f"{_SELECT} WHERE id = ANY($1::uuid[])", [UUID(intent) for intent in wanted])
    found = {stored.intent.id: stored for stored in map(_stored, rows)}
    missing = [intent for intent in wanted if intent not in found]
    if missing:
        raise NotFound(f"there is no intent {missing[0]}")
    return [found[intent] for intent in wanted]


async def summary(connection: Connection, intent: IntentId) -> str:
    """Of its plan, whatever release made it."""
    found: str | None = await connection.fetchval("SELECT plan ->> 'summary' FROM intents WHERE id = $1", UUID(intent))
    return found or f"intent {intent}, of which the journal tells nothing"


async def of_incident(connection: Connection, incident: IncidentId) -> list[JournalledIntent]:
    rows = await connection.fetch(f"{_SELECT} WHERE incident_id = $1 ORDER BY begun_at", incident)
    return [_stored(row) for row in rows]


_SELECT = "SELECT id, incident_id, path, plan::text AS plan, timeout, epoch, state, detail, undoes FROM intents"


def _stored(row: Any) -> JournalledIntent:
    intent = Intent(
        id=IntentId(str(row["id"])),
        incident=IncidentId(row["incident_id"]),
        path=row["path"],
        plan=from_json(row["plan"], Plan),
        timeout=row["timeout"],
        undoes=IntentId(str(row["undoes"])) if row["undoes"] else None,
    )
    return JournalledIntent(intent, row["epoch"], IntentState(row["state"]), row["detail"])
