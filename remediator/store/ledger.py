"""What was spent, and the kill switch. The database's clock is the only one."""

from collections.abc import Sequence
from datetime import datetime

from remediator.domain.ledger import KillSwitch, Reservation
from remediator.store.database import Connection, clean


async def now(connection: Connection) -> datetime:
    moment: datetime = await connection.fetchval("SELECT now()")
    return moment


async def reservations(connection: Connection, keys: Sequence[str]) -> tuple[Reservation, ...]:
    if not keys:
        return ()
    rows = await connection.fetch(
        "SELECT key, at, units FROM reservations WHERE key = ANY($1) AND at > now() - interval '31 days' ORDER BY at",
        list(keys),
    )
    return tuple(Reservation(row["key"], row["at"], row["units"]) for row in rows)


async def kill_switch(connection: Connection) -> KillSwitch:
    row = await connection.fetchrow("SELECT is_on, by, reason FROM kill_switch")
    return KillSwitch(row["is_on"], row["by"], row["reason"]) if row else KillSwitch(True, "", "its row is missing")


async def set_kill_switch(tx: Connection, *, on: bool, by: str, reason: str) -> None:
    """Waits for transactions that journal an intent: after it commits, none can begin."""
    await tx.execute(
        "UPDATE kill_switch SET is_on = $1, by = $2, reason = $3, at = now()", on, clean(by), clean(reason)
    )
