"""What was spent, and the kill switch. The database's clock is the only one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from remediator.domain.budget import LONGEST_WINDOW, Budget
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


# A row of its own where nothing was spent, and none but that where the switch's row is missing. Of one write there is a
# row for each window; it counts once. '0' is what comes after '/', in the order of bytes.
_SNAPSHOT = f"""
SELECT clock_timestamp() AS now, k.is_on, k.by, k.reason, r.key, r.at, r.units
FROM (SELECT) one LEFT JOIN kill_switch k ON true LEFT JOIN LATERAL (
    SELECT b.key, max(stored.at) AS at, max(stored.units) AS units
    FROM unnest($1::text[]) b(key) CROSS JOIN LATERAL (
        SELECT intent_id, at, units FROM reservations
        WHERE key ~>=~ (b.key || '/') AND key ~<~ (b.key || '0') AND strpos(substr(key, length(b.key) + 2), '/') = 0
          AND at > now() - interval '{LONGEST_WINDOW.days} days'
    ) stored
    GROUP BY b.key, stored.intent_id
) r ON true
"""  # noqa: S608  # constants only


async def snapshot(connection: Connection, keys: Sequence[str]) -> Snapshot:
    """With what was spent from the budgets of these keys, whatever their windows."""
    rows = await connection.fetch(_SNAPSHOT, list(keys))
    first = rows[0]
    switch = KillSwitch(first["is_on"], first["by"], first["reason"]) if first["is_on"] is not None else _NO_SWITCH
    spent = tuple(Reservation(row["key"], row["at"], row["units"]) for row in rows if row["key"] is not None)
    return Snapshot(first["now"], switch, spent)


_NO_SWITCH = KillSwitch(True, "", "its row is missing")


async def kill_switch(connection: Connection) -> KillSwitch:
    row = await connection.fetchrow("SELECT is_on, by, reason FROM kill_switch")
    return KillSwitch(row["is_on"], row["by"], row["reason"]) if row else _NO_SWITCH


async def set_kill_switch(tx: Connection, *, on: bool, by: str, reason: str) -> None:
    """Waits for transactions that journal an intent: after it commits, none can begin."""
    await tx.execute(
        "UPDATE kill_switch SET is_on = $1, by = $2, reason = $3, at = now()", on, clean(by), clean(reason)
    )
