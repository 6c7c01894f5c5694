"""The partitions of the tables that are kept by time. Each change takes its lock at once or not at all.

A new one is made beside its table and attached, which lets writers go on. An old one is dropped in one short
transaction; `DETACH ... CONCURRENTLY` would be gentler still, but PostgreSQL refuses it where there is a default
partition, and a default partition is what keeps an insert from failing should nobody have made the next one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import asyncpg

from remediator.domain.partition import Partition, Period, Span
from remediator.store.database import Connection

LOCK_TIMEOUT = "200ms"
"""Writers queue behind us for this long at most, and we ask again later."""


@dataclass(frozen=True, slots=True)
class Partitioned:
    table: str
    period: Period


DELIVERIES = Partitioned("deliveries", Period.WEEK)
QUARANTINE = Partitioned("quarantine", Period.WEEK)
TIMELINE = Partitioned("timeline", Period.MONTH)
ALL = (DELIVERIES, QUARANTINE, TIMELINE)


async def existing(connection: Connection) -> Mapping[str, list[Partition]]:
    """Table -> its partitions, in the order of their ends, the default one last."""
    rows = await connection.fetch(
        r"""SELECT p.relname AS parent, c.relname AS name, b.starts, b.ends
            FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhparent JOIN pg_class c ON c.oid = h.inhrelid,
            LATERAL pg_get_expr(c.relpartbound, c.oid) bound,
            LATERAL (SELECT (regexp_match(bound, 'FROM \(''([^'']+)''\)'))[1]::timestamptz AS starts,
                            (regexp_match(bound, 'TO \(''([^'']+)''\)'))[1]::timestamptz AS ends) b
            WHERE p.oid = ANY (ARRAY(SELECT to_regclass(t) FROM unnest($1::text[]) t))
            ORDER BY b.ends NULLS LAST""",
        [kept.table for kept in ALL],
    )
    found: dict[str, list[Partition]] = {kept.table: [] for kept in ALL}
    for row in rows:
        found[row["parent"]].append(Partition(row["name"], row["starts"], row["ends"]))
    return found


class Outcome(StrEnum):
    DONE = "done"
    LOCKED = "locked"
    """Somebody else was at it; nothing is changed."""
    ELSEWHERE = "elsewhere"
    """The default partition holds rows of that span already: they stay there, and age there."""


async def make(tx: Connection, kept: Partitioned, span: Span) -> Outcome:
    name = f"{kept.table}_{span.starts:%Y%m%d}"
    return await _at_once(
        tx,
        f"""CREATE TABLE IF NOT EXISTS {name} (LIKE {kept.table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS
                INCLUDING INDEXES INCLUDING STORAGE INCLUDING COMPRESSION);
            ALTER TABLE {kept.table} ATTACH PARTITION {name}
                FOR VALUES FROM ('{span.starts.isoformat()}') TO ('{span.ends.isoformat()}')""",
    )


async def drop(tx: Connection, partition: Partition) -> Outcome:
    return await _at_once(tx, f"DROP TABLE IF EXISTS {partition.name}")


async def is_in_use(connection: Connection, partition: Partition) -> bool:
    """Whether a partition of the timeline tells of an incident that is still kept."""
    found: bool = await connection.fetchval(
        f"""SELECT EXISTS (SELECT FROM {partition.name} t
                           WHERE EXISTS (SELECT FROM incidents i WHERE i.id = t.incident_id))"""  # noqa: S608  # constants only
    )
    return found


async def _at_once(tx: Connection, statements: str) -> Outcome:
    try:
        async with tx.transaction():
            await tx.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'; {statements}")
    except asyncpg.LockNotAvailableError:
        return Outcome.LOCKED
    except asyncpg.CheckViolationError:
        return Outcome.ELSEWHERE
    return Outcome.DONE
