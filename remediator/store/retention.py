"""What is past its time, found and removed in small batches. An open incident, an open episode, a page that is still
to be sent and an intent without a result are never touched, whatever their age.

Ids are given in the order of time, so each sweep walks its table by primary key from the oldest row and ends at the
first that is too young: no index on the hot tables serves the clearing up alone.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from remediator.domain.budget import LONGEST_WINDOW
from remediator.store.database import Connection

RESERVATIONS_KEPT = LONGEST_WINDOW + timedelta(days=4)
"""They count until the longest window is over; with their intent, and that with its incident, they would go sooner."""


@dataclass(frozen=True, slots=True)
class Keep:
    """How long; None: for ever."""

    raw: timedelta | None
    decisions: timedelta | None
    diagnostics: timedelta | None


@dataclass(frozen=True, slots=True)
class Sweep:
    """Rows that go one by one. `is_over` reads the row as `t`, and the age it may reach as `$1`."""

    table: str
    began: str
    """The column that grows with the id; a row is never over before it began."""
    is_over: str


EPISODES = Sweep("episodes", "opened_at", "t.incident_id IS NULL AND t.closed_at < now() - $1::interval")
"""Those of an incident go with their incident."""

INCIDENTS = Sweep(
    "incidents",
    "opened_at",
    f"""t.status = 'resolved' AND t.resolved_at < now() - $1::interval
       AND t.wake_at IS NULL AND (t.lease_until IS NULL OR t.lease_until < now())
       AND NOT EXISTS (SELECT FROM episodes e WHERE e.incident_id = t.id AND e.closed_at IS NULL)
       AND NOT EXISTS (SELECT FROM outbox o WHERE o.incident_id = t.id AND o.due_at IS NOT NULL)
       AND NOT EXISTS (SELECT FROM intents n WHERE n.incident_id = t.id
           AND (n.state = 'begun' OR n.begun_at > now() - interval '{RESERVATIONS_KEPT.days} days'))""",  # noqa: S608  # constants only
)
"""However short the time: what was written in it still counts for the guards."""

OUTBOX = Sweep(
    "outbox",
    "created_at",
    """t.due_at IS NULL AND EXISTS (SELECT FROM incidents i WHERE i.id = t.incident_id
           AND i.status = 'resolved' AND i.resolved_at < now() - $1::interval)""",
)
"""Its key is what keeps a page from being sent twice, so it lives as long as its incident is open, and longer."""

RESERVATIONS = Sweep("reservations", "at", "t.at < now() - $1::interval")

_FACTS_ARE_OVER = """t.status = 'resolved' AND t.facts_dropped_at IS NULL AND t.resolved_at < now() - $1::interval
    AND t.wake_at IS NULL AND (t.lease_until IS NULL OR t.lease_until < now())"""

_VERSION_IS_OVER = """t.seen_at < now() - $1::interval
    AND NOT EXISTS (SELECT FROM incidents i WHERE i.rule_version = t.version COLLATE "default")"""
"""The index over incidents is in the order of their column's collation, and the version's own is another."""


def raw_rows(partition: str) -> Sweep:
    """Of a partition that is not dropped as a whole: the default one, and the one from before there were any."""
    return Sweep(partition, "received_at", "t.received_at < now() - $1::interval")


@dataclass(frozen=True, slots=True)
class Batch:
    removed: int
    last: int
    """Go on after this id."""
    is_last: bool


async def sweep(tx: Connection, what: Sweep, *, age: timedelta, after: int, limit: int) -> Batch:
    [row] = await tx.fetch(
        f"""WITH page AS MATERIALIZED (
                SELECT id, {what.began} >= now() - $1::interval AS is_young FROM {what.table}
                WHERE id > $2 ORDER BY id LIMIT $3
            ), gone AS (
                DELETE FROM {what.table} t USING page p WHERE t.id = p.id AND NOT p.is_young AND {what.is_over}
                RETURNING t.id
            )
            SELECT (SELECT count(*) FROM gone) AS removed, COALESCE(max(id), 0) AS last,
                count(*) < $3 OR bool_or(is_young) AS is_last FROM page""",  # noqa: S608  # constants only
        age,
        after,
        limit,
    )
    return Batch(row["removed"], row["last"], row["is_last"])


_INCIDENT_PAGE = f"""
WITH page AS MATERIALIZED (
    SELECT id, opened_at >= now() - $1::interval AS is_young FROM incidents WHERE id > $2 ORDER BY id LIMIT $3
), over AS (
    SELECT t.id FROM incidents t JOIN page p USING (id) WHERE NOT p.is_young AND {INCIDENTS.is_over}
    FOR UPDATE OF t SKIP LOCKED
)
SELECT ARRAY(SELECT id FROM over) AS over, COALESCE(max(id), 0) AS last,
    count(*) < $3 OR bool_or(is_young) AS is_last FROM page
"""  # noqa: S608  # constants only


async def sweep_incidents(tx: Connection, *, age: timedelta, after: int, limit: int) -> Batch:
    """Intents, reservations, deadlines and messages follow by their foreign keys, the timeline by a trigger."""
    [row] = await tx.fetch(_INCIDENT_PAGE, age, after, limit)
    if row["over"]:
        await tx.execute("DELETE FROM episodes WHERE incident_id = ANY($1::bigint[])", row["over"])
        await tx.execute("DELETE FROM incidents WHERE id = ANY($1::bigint[])", row["over"])
    return Batch(len(row["over"]), row["last"], row["is_last"])


_DROP_FACTS = f"""
WITH over AS (
    SELECT t.id FROM incidents t WHERE {_FACTS_ARE_OVER}
    ORDER BY t.resolved_at LIMIT $2 FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE incidents t SET facts_dropped_at = now(), progress = CASE jsonb_typeof(t.progress -> 'findings')
    WHEN 'object' THEN jsonb_set(t.progress, '{{findings}}', COALESCE((
        SELECT jsonb_object_agg(f.name, f.finding || '{{"facts": {{}}}}') FROM jsonb_each(t.progress -> 'findings')
            AS f (name, finding)), '{{}}'))
    ELSE t.progress END
FROM over WHERE t.id = over.id RETURNING t.id
"""  # noqa: S608  # constants only


async def drop_facts(tx: Connection, *, age: timedelta, limit: int) -> int:
    """What the looks of closed incidents saw. What was concluded from it, a line each, stays with the decisions."""
    ids = [row["id"] for row in await tx.fetch(_DROP_FACTS, age, limit)]
    if ids:
        await tx.execute(
            """UPDATE timeline SET data = '{}'
               WHERE incident_id = ANY($1::bigint[]) AND kind = 'finding' AND data <> '{}'""",
            ids,
        )
    return len(ids)


async def forget_budgets(tx: Connection, *, limit: int) -> int:
    """Of which nothing is spent any more. A row is only there to be locked: who needs it again inserts it."""
    gone = await tx.fetch(
        """DELETE FROM budgets WHERE key IN (
               SELECT key FROM (SELECT key, key COLLATE "default" AS spent FROM budgets) b
               WHERE NOT EXISTS (SELECT FROM reservations r WHERE r.key = b.spent)
                   AND NOT EXISTS (
                       SELECT FROM reservations r WHERE r.key ~>=~ (b.spent || '/') AND r.key ~<~ (b.spent || '0'))
               LIMIT $1 FOR UPDATE SKIP LOCKED)
           RETURNING key""",
        limit,
    )
    return len(gone)


async def forget_rule_versions(tx: Connection, *, age: timedelta, limit: int) -> int:
    """Those that no incident refers to and no replica has had in force for so long."""
    gone = await tx.fetch(
        f"""DELETE FROM rule_versions WHERE version IN (
                SELECT version FROM rule_versions t WHERE {_VERSION_IS_OVER} LIMIT $2 FOR UPDATE SKIP LOCKED)
            RETURNING version""",  # noqa: S608  # constants only
        age,
        limit,
    )
    return len(gone)


@dataclass(frozen=True, slots=True)
class Kept:
    """A table as people see it before they decide how long to keep it."""

    what: str
    kept_for: timedelta | None
    rows: int
    """As the database estimates it."""
    oldest: datetime | None
    bytes: int
    """With its indexes."""
    would_go: int
    """Rows the next round would remove, or empty of their facts."""


async def report(connection: Connection, keep: Keep) -> list[Kept]:
    """Reads only; counts exactly what would go, so it may take its time on a big database."""
    return [await _kept(connection, line) for line in _lines(keep)]


@dataclass(frozen=True, slots=True)
class _Line:
    name: str
    table: str
    kept_for: timedelta | None
    oldest: str
    """A query."""
    is_over: str


_OF_AN_INCIDENT_THAT_GOES = f"t.incident_id IN (SELECT t.id FROM incidents t WHERE {INCIDENTS.is_over})"  # noqa: S608  # constants only


def _lines(keep: Keep) -> tuple[_Line, ...]:
    with_facts = "SELECT min(resolved_at) FROM incidents WHERE status = 'resolved' AND facts_dropped_at IS NULL"
    begun, seen = "SELECT min(begun_at) FROM intents", "SELECT min(seen_at) FROM rule_versions"
    episode_is_over = f"({EPISODES.is_over}) OR {_OF_AN_INCIDENT_THAT_GOES}"
    raw = raw_rows("deliveries").is_over
    return (
        _Line("deliveries", "deliveries", keep.raw, _first("deliveries", "received_at"), raw),
        _Line("quarantine", "quarantine", keep.raw, _first("quarantine", "received_at"), raw),
        _Line("incidents", "incidents", keep.decisions, _first("incidents", "opened_at"), INCIDENTS.is_over),
        _Line("episodes", "episodes", keep.decisions, _first("episodes", "opened_at"), episode_is_over),
        _Line("timeline", "timeline", keep.decisions, _first("timeline", "at"), _OF_AN_INCIDENT_THAT_GOES),
        _Line("intents", "intents", keep.decisions, begun, _OF_AN_INCIDENT_THAT_GOES),
        _Line("rule versions", "rule_versions", keep.decisions, seen, _VERSION_IS_OVER),
        _Line("facts of incidents", "incidents", keep.diagnostics, with_facts, _FACTS_ARE_OVER),
        _Line("outbox", "outbox", keep.diagnostics, _first("outbox", "created_at"), OUTBOX.is_over),
        _Line("reservations", "reservations", RESERVATIONS_KEPT, _first("reservations", "at"), RESERVATIONS.is_over),
    )


def _first(table: str, began: str) -> str:
    return f"SELECT {began} FROM {table} ORDER BY id LIMIT 1"  # noqa: S608  # constants only


async def _kept(connection: Connection, line: _Line) -> Kept:
    [size] = await connection.fetch(
        """SELECT COALESCE(sum(GREATEST(reltuples, 0)) FILTER (WHERE relkind = 'r'), 0)::bigint AS rows,
               COALESCE(sum(pg_total_relation_size(oid)), 0)::bigint AS bytes
           FROM pg_class WHERE oid = $1::text::regclass
               OR oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = $1::text::regclass)""",
        line.table,
    )
    counted = f"SELECT count(*) FROM {line.table} t WHERE {line.is_over}"  # noqa: S608  # constants only
    return Kept(
        what=line.name,
        kept_for=line.kept_for,
        rows=size["rows"],
        oldest=await connection.fetchval(line.oldest),
        bytes=size["bytes"],
        would_go=await connection.fetchval(counted, line.kept_for, timeout=300) if line.kept_for is not None else 0,
    )
