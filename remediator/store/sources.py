"""The senders that are polled: whose turn it is, what their peers said last, and how late their alerts are.

One row a source is the claim: whichever replica comes by when it is due polls all its peers, under a lease and a
fencing number by the database's clock. So no peer is asked twice at once, and no replica has to be told to do it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from remediator.domain.errors import StaleFence
from remediator.domain.ids import SourceName
from remediator.store.database import Connection, clean

EARLIEST_AGAIN = timedelta(seconds=5)
"""However often a poll is asked for before its time."""
UNPOLLED_AFTER = timedelta(minutes=5)
"""A source that is overdue for so long is polled by nobody who runs: a poll is due every minute at the least."""


@dataclass(frozen=True, slots=True)
class Round:
    """One poll of one source, claimed."""

    source: SourceName
    epoch: int
    started_at: datetime
    """By the database's clock, as everything that is compared with it."""


@dataclass(frozen=True, slots=True)
class PeerReport:
    peer: str
    kind: str
    firing: int = 0
    suppressed: int = 0
    error: str = ""
    """Why it did not answer; empty: it did."""
    caveat: str = ""
    """What people are to know of its answer."""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """One peer of a source, or a source that is not polled (no `peer`)."""

    source: str
    peer: str | None
    kind: str | None
    polled_at: datetime | None
    answered_at: datetime | None
    firing: int | None
    suppressed: int | None
    opened_by_poll: int | None
    closed_by_poll: int | None
    error: str
    lag_p50_seconds: float | None
    lag_p99_seconds: float | None
    """Of the episodes opened within the last day."""


async def enrol(tx: Connection, sources: Sequence[SourceName]) -> None:
    """At the start of a replica: what it is to poll is due at once, whoever polled it last."""
    await tx.execute(
        """INSERT INTO source_polls (source) SELECT source FROM unnest($1::text[]) s(source) ORDER BY source
           ON CONFLICT (source) DO UPDATE SET due_at = LEAST(source_polls.due_at, now())""",
        list(sources),
    )


_CLAIM = """
UPDATE source_polls SET epoch = epoch + 1, started_at = now(), due_at = now() + $2, lease_until = now() + $3
WHERE source = (
    SELECT source FROM source_polls
    WHERE source = $1 AND (lease_until IS NULL OR lease_until < now())
      AND (due_at <= now() OR ($4 AND COALESCE(started_at, '-infinity') < now() - $5::interval))
    FOR UPDATE SKIP LOCKED
)
RETURNING epoch, started_at
"""


async def claim(
    tx: Connection, source: SourceName, *, every: timedelta, lease: timedelta, early: bool = False
) -> Round | None:
    """None where it is not due, or another replica is at it. `early`: before its time, but not at once again."""
    row = await tx.fetchrow(_CLAIM, source, every, lease, early, EARLIEST_AGAIN)
    return Round(source, row["epoch"], row["started_at"]) if row is not None else None


async def due_in(connection: Connection, source: SourceName) -> timedelta | None:
    """Until somebody may poll it; None where nobody enrolled it."""
    wait: timedelta | None = await connection.fetchval(
        "SELECT GREATEST(due_at, lease_until) - now() FROM source_polls WHERE source = $1", source
    )
    return wait


async def hold_fence(tx: Connection, claimed: Round) -> datetime:
    """Raises `StaleFence` where another replica has taken the source over. Gives the database's time."""
    row = await tx.fetchrow(
        "SELECT epoch, clock_timestamp() AS now FROM source_polls WHERE source = $1 FOR UPDATE", claimed.source
    )
    if row is None or row["epoch"] != claimed.epoch:
        raise StaleFence(f"the poll of {claimed.source} was overtaken by another replica")
    now: datetime = row["now"]
    return now


async def keep_reports(tx: Connection, claimed: Round, reports: Sequence[PeerReport]) -> None:
    """Peers that are no longer configured are forgotten."""
    await tx.execute(
        "DELETE FROM source_peers WHERE source = $1 AND peer <> ALL($2)",
        claimed.source,
        [report.peer for report in reports],
    )
    await tx.executemany(
        """INSERT INTO source_peers AS p (source, peer, kind, polled_at, answered_at, firing, suppressed, error)
           VALUES ($1, $2, $3, $4::timestamptz, CASE WHEN $8::boolean THEN $4::timestamptz END, $5, $6, $7)
           ON CONFLICT (source, peer) DO UPDATE SET
               kind = EXCLUDED.kind, polled_at = EXCLUDED.polled_at, error = EXCLUDED.error,
               answered_at = COALESCE(EXCLUDED.answered_at, p.answered_at),
               firing = CASE WHEN $8 THEN EXCLUDED.firing ELSE p.firing END,
               suppressed = CASE WHEN $8 THEN EXCLUDED.suppressed ELSE p.suppressed END""",
        [
            (
                claimed.source,
                r.peer,
                r.kind,
                claimed.started_at,
                r.firing,
                r.suppressed,
                clean(r.error or r.caveat)[:500],
                not r.error,
            )
            for r in reports
        ],
    )


async def is_unheard(tx: Connection, claimed: Round) -> bool:
    """Whether no peer has answered for so long that what the last one said is hearsay."""
    heard_at: datetime | None = await tx.fetchval(
        "SELECT max(answered_at) FROM source_peers WHERE source = $1", claimed.source
    )
    return heard_at is None or claimed.started_at - heard_at >= UNPOLLED_AFTER


async def finish(tx: Connection, claimed: Round, *, opened: int, closed: int) -> None:
    """Counts the repairs and gives the lease back, if it is still ours."""
    await tx.execute(
        """UPDATE source_polls SET lease_until = NULL, opened = opened + $3, closed = closed + $4
           WHERE source = $1 AND epoch = $2""",
        claimed.source,
        claimed.epoch,
        opened,
        closed,
    )


# Whoever was frozen in the middle of a poll, and continues it now, finds that it was overtaken.
_LEAVE = """
UPDATE source_polls SET epoch = epoch + 1, started_at = NULL, lease_until = NULL
WHERE source = (
    SELECT source FROM source_polls
    WHERE source <> ALL($1) AND started_at IS NOT NULL AND GREATEST(due_at, lease_until) < now() - $2::interval
    ORDER BY source LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING source
"""


async def leave_unpolled(tx: Connection, polled: Collection[SourceName]) -> SourceName | None:
    """A source that is not in `polled`, and that no other replica has polled for a while: from now on as if it never
    had been. Its row is held until the transaction ends."""
    source: str | None = await tx.fetchval(_LEAVE, sorted(polled), UNPOLLED_AFTER)
    if source is None:
        return None
    await tx.execute("DELETE FROM source_peers WHERE source = $1", source)
    return SourceName(source)


LAGS = """
SELECT source, percentile_cont(ARRAY[0.5, 0.99]) WITHIN GROUP (ORDER BY lag) AS percentiles
FROM (SELECT source, GREATEST(EXTRACT(epoch FROM opened_at - starts_at), 0)::float8 AS lag
      FROM episodes WHERE opened_at > now() - interval '1 day') recent
GROUP BY source
"""


async def overview(connection: Connection, polled: Sequence[SourceName]) -> list[SourceRow]:
    """Every peer of the sources in `polled`, and every other source that opened an episode within the last day."""
    lags = {row["source"]: row["percentiles"] for row in await connection.fetch(LAGS)}
    peers = await connection.fetch(
        """SELECT p.source, p.peer, p.kind, p.polled_at, p.answered_at, p.firing, p.suppressed, s.opened, s.closed,
                  p.error FROM source_peers p JOIN source_polls s USING (source)
           WHERE source = ANY($1) ORDER BY p.source, p.peer""",
        list(polled),
    )
    rows = [SourceRow(*row, *lags.get(row["source"], (None, None))) for row in peers]
    shown = {row.source for row in rows}
    unpolled = [
        SourceRow(source, None, None, None, None, None, None, None, None, "", *lags.get(source, (None, None)))
        for source in sorted({*lags, *polled} - shown)
    ]
    return [*rows, *unpolled]
