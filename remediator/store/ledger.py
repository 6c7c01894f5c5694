"""What was spent, and the kill switch. The database's clock is the only one."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from remediator.domain.budget import Budget
from remediator.domain.ledger import KillSwitch, Reservation
from remediator.language.duration import format_duration
from remediator.store.database import Connection, clean


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Read in one statement."""

    now: datetime
    kill_switch: KillSwitch
    reservations: tuple[Reservation, ...]


async def now(connection: Connection) -> datetime:
    moment: datetime = await connection.fetchval("SELECT now()")
    return moment


def stored_key(budget: Budget) -> str:
    """With the window, for the release before finds by it what it counts. We count all that differ in nothing else."""
    return f"{budget.key}/{format_duration(budget.within)}"


def stored_spends(budgets: Iterable[Budget]) -> dict[str, int]:
    """Units by stored key, of one write: a row each, also where several budgets book under the same."""
    spent: dict[str, int] = {}
    for budget in budgets:
        key = stored_key(budget)
        spent[key] = max(budget.units, spent.get(key, 0))
    return spent


# A row of its own where nothing was spent, and none but that where the switch's row is missing. The windows of a budget
# come from the index, one step each, and of each what is not past: read as one range, it was all that was ever spent.
# '0' is what comes after '/', in the order of bytes; what has more parts is another budget. OFFSET keeps the look-ups
# apart. Of one write there is a row for each window; it counts once.
_SNAPSHOT = """
WITH RECURSIVE stored AS (
    SELECT key AS budget, within, key || '/' AS key FROM unnest($1::text[], $2::interval[]) asked(key, within)
    UNION ALL
    SELECT s.budget, s.within, following.key FROM stored s CROSS JOIN LATERAL (
        SELECT key FROM reservations WHERE key ~>~ s.key AND key ~<~ (s.budget || '0') ORDER BY key USING ~<~ LIMIT 1
    ) following
)
SELECT clock_timestamp() AS now, k.is_on, k.by, k.reason, r.key, r.at, r.units
FROM (SELECT) one LEFT JOIN kill_switch k ON true LEFT JOIN LATERAL (
    SELECT s.budget AS key, max(spent.at) AS at, max(spent.units) AS units
    FROM stored s CROSS JOIN LATERAL (
        SELECT intent_id, at, units FROM reservations WHERE key = s.key AND at > now() - s.within OFFSET 0
    ) spent
    WHERE strpos(substr(s.key, length(s.budget) + 2), '/') = 0
    GROUP BY s.budget, spent.intent_id
) r ON true
"""


async def snapshot(connection: Connection, budgets: Collection[Budget]) -> Snapshot:
    """With what was spent from them, and from any others that count the same, in the widest of their windows."""
    within = _widest(budgets)
    rows = await connection.fetch(_SNAPSHOT, list(within), list(within.values()))
    first = rows[0]
    switch = KillSwitch(first["is_on"], first["by"], first["reason"]) if first["is_on"] is not None else _NO_SWITCH
    spent = tuple(Reservation(row["key"], row["at"], row["units"]) for row in rows if row["key"] is not None)
    return Snapshot(first["now"], switch, spent)


def _widest(budgets: Iterable[Budget]) -> dict[str, timedelta]:
    """Of the windows of each key."""
    within: dict[str, timedelta] = {}
    for budget in budgets:
        for key in budget.keys:
            within[key] = max(budget.within, within.get(key, timedelta()))
    return within


_NO_SWITCH = KillSwitch(True, "", "its row is missing")


async def kill_switch(connection: Connection) -> KillSwitch:
    row = await connection.fetchrow("SELECT is_on, by, reason FROM kill_switch")
    return KillSwitch(row["is_on"], row["by"], row["reason"]) if row else _NO_SWITCH


async def set_kill_switch(tx: Connection, *, on: bool, by: str, reason: str) -> None:
    """Waits for transactions that journal an intent: after it commits, none can begin."""
    await tx.execute(
        "UPDATE kill_switch SET is_on = $1, by = $2, reason = $3, at = now()", on, clean(by), clean(reason)
    )
