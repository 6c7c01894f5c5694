"""Episodes: looked up, opened, refreshed and closed, a whole batch a statement.

Rows travel as one JSON document: an array for each column costs three times as much to send (see ARCHITECTURE).
Whatever is locked or inserted is sorted first: unsorted batches deadlock (facts: engine).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from remediator.domain.alert import Alert, Delivery
from remediator.domain.episode import EndedEpisode, OpenEpisode
from remediator.domain.errors import Temporary
from remediator.domain.filing import Birth, Book
from remediator.domain.ids import AlertKey, EpisodeId
from remediator.domain.timeline import Entry
from remediator.store import bodies, timeline
from remediator.store.database import Connection

SEEN_EVERY = timedelta(seconds=10)
"""Alertmanager repeats whole groups: an episode told again sooner than this is not written again."""

Known = tuple[dict[AlertKey, Book], datetime]
"""The books of those alerts that were ever told before, and the moment by the database's clock."""

# One row for each alert that is known in any way. There is one open episode at most; LIMIT keeps the look-ups apart,
# else they may become a join that reads every open episode of the source.
KNOWN = """
SELECT t.position, o.id, o.starts_at, o.incident_id, o.last_seen_at > now() - $2::interval AS seen_lately,
    COALESCE(e.ends_at, e.closed_at) AS ended_at, e.closed_at
FROM told t
LEFT JOIN LATERAL (
    SELECT id, starts_at, incident_id, last_seen_at FROM episodes
    WHERE source = t.source AND fingerprint = t.fingerprint AND closed_at IS NULL LIMIT 1
) o ON true
LEFT JOIN LATERAL (
    SELECT ends_at, closed_at FROM episodes
    WHERE source = t.source AND fingerprint = t.fingerprint AND closed_at IS NOT NULL AND o.id IS NULL
    ORDER BY closed_at DESC LIMIT 1
) e ON true
WHERE o.id IS NOT NULL OR e.closed_at IS NOT NULL
"""
# Before them a row that has the time alone.
ANSWER = """
SELECT 0 AS position, NULL::bigint AS id, NULL::timestamptz AS starts_at, NULL::bigint AS incident_id,
    false AS seen_lately, NULL::timestamptz AS ended_at, now() AS closed_at
UNION ALL SELECT * FROM known
"""
_LOOK_UP = f"""
WITH told AS (
    SELECT * FROM ROWS FROM (jsonb_to_recordset($1) AS (source text, fingerprint text))
        WITH ORDINALITY t(source, fingerprint, position)
), known AS ({KNOWN})
{ANSWER}
"""  # noqa: S608  # put together from our own constants: every value is a parameter


async def look_up(connection: Connection, told: Collection[AlertKey]) -> Known:
    rows = [{"source": source, "fingerprint": fingerprint} for source, fingerprint in told]
    return known(told, await connection.fetch(_LOOK_UP, rows, SEEN_EVERY))


# Where another replica opened the same episode a moment ago, ours is a refresh of it, and the later start counts. Where
# its rules, older or newer, want no incident, it goes to ours: that is there already, and may have no other alert.
# Annotations and links are where they are of use: in the incident's alert, and in the body as it was sent.
OPEN = """
INSERT INTO episodes (source, fingerprint, incident_id, labels, starts_at)
{rows} ORDER BY source COLLATE "C", fingerprint COLLATE "C"
ON CONFLICT (source, fingerprint) WHERE closed_at IS NULL
DO UPDATE SET last_seen_at = now(), starts_at = GREATEST(episodes.starts_at, excluded.starts_at),
    incident_id = COALESCE(episodes.incident_id, excluded.incident_id)
"""
# What another refreshes at this moment is skipped, for it would write the same.
REFRESH = """
UPDATE episodes SET last_seen_at = now() WHERE id = ANY(ARRAY(
    SELECT e.id FROM {numbers},
        LATERAL (SELECT id FROM episodes WHERE id = n.id LIMIT 1 FOR UPDATE SKIP LOCKED) e))
"""


# Each by its number alone, and whether it is open is asked of what is found: a plan made while there were few of them
# would read all that are open.
_GO_ON = f"""
WITH open AS MATERIALIZED (
    SELECT e.id, e.last_seen_at > now() - $2::interval AS seen_lately FROM unnest($1::bigint[]) n(id),
        LATERAL (SELECT id, last_seen_at, closed_at FROM episodes WHERE id = n.id LIMIT 1) e
    WHERE e.closed_at IS NULL
), kept AS ({bodies.INSERT.format(bodies="$3", rows="$4")}
), refreshed AS ({REFRESH.format(numbers="(SELECT id FROM open WHERE NOT seen_lately) n")}
)
SELECT count(*) FROM open
"""  # noqa: S608  # put together from our own constants: every value is a parameter


async def go_on(connection: Connection, deliveries: Iterable[Delivery], episodes: Collection[EpisodeId]) -> bool:
    """Keeps the bodies and refreshes the episodes. Whether all of them are open."""
    arguments = list(episodes), SEEN_EVERY, *bodies.rows(deliveries)
    return bool(await connection.fetchval(_GO_ON, *arguments) == len(episodes))


def known(told: Collection[AlertKey], rows: Sequence[Sequence[Any]], *, refreshed: bool = False) -> Known:
    in_order = tuple(told)
    books: dict[AlertKey, Book] = {}
    for position, number, starts_at, incident, seen_lately, ended_at, closed_at in rows[1:]:
        book = books[in_order[position - 1]] = Book(seen_lately=refreshed or seen_lately)
        if number is None:
            book.last_ended = EndedEpisode(ended_at, closed_at)
        else:
            book.open_episode = OpenEpisode(EpisodeId(number), starts_at, incident)
    return books, rows[0][-1]


_WRITE = f"""
WITH kept AS ({bodies.INSERT.format(bodies="$1", rows="$2")}
), refreshed AS ({REFRESH.format(numbers="unnest($3::bigint[]) n(id)")}
), told AS ({timeline.APPEND.format(rows="$4")})
{
    OPEN.format(
        rows='''SELECT * FROM jsonb_to_recordset($5)
    b(source text, fingerprint text, incident_id bigint, labels jsonb, starts_at timestamptz)'''
    )
}
"""  # noqa: S608  # put together from our own constants: every value is a parameter


async def write(
    connection: Connection,
    deliveries: Iterable[Delivery],
    seen: Collection[int],
    births: Iterable[Birth],
    entries: Sequence[tuple[int, Entry]],
) -> None:
    """Bodies, refreshed and new episodes, and what the timelines say: all that needs no answer, in one statement."""
    sent = bodies.rows(deliveries)
    rows = [_born(birth) for birth in births]
    if any((*sent, seen, rows, entries)):
        await connection.execute(_WRITE, *sent, list(seen), timeline.rows(entries), rows)


def _born(birth: Birth) -> dict[str, object]:
    return row(birth.alert) | {"incident_id": birth.incident, "starts_at": birth.starts_at}


def row(alert: Alert) -> dict[str, object]:
    """For `OPEN`."""
    return {
        "source": alert.source,
        "fingerprint": alert.fingerprint,
        "labels": alert.labels,
        "starts_at": alert.starts_at,
    }


# Those that are open, each found by its number alone (see `_GO_ON`) and held in their order.
_HELD = """
held AS MATERIALIZED (
    SELECT e.id FROM (SELECT DISTINCT id FROM unnest({numbers}) id ORDER BY id) n,
        LATERAL (SELECT id, closed_at FROM episodes WHERE id = n.id LIMIT 1 FOR UPDATE) e
    WHERE e.closed_at IS NULL
)"""
# ANY, though the join says as much: it may be planned as a walk through every episode.
_OF_THE_HELD = "e.id = ANY(ARRAY(SELECT id FROM held)) AND e.id = k.id"
_RESTART = f"""
WITH {_HELD.format(numbers="$1::bigint[] || $3::bigint[]")}
UPDATE episodes e SET last_seen_at = now(), starts_at = GREATEST(e.starts_at, k.starts_at)
FROM unnest($1::bigint[], $2::timestamptz[]) k(id, starts_at) WHERE {_OF_THE_HELD} RETURNING e.id
"""  # noqa: S608  # put together from our own constants: every value is a parameter


async def restart(tx: Connection, restarts: Mapping[int, datetime], *, to_close: Collection[int]) -> None:
    """Holds those that are `to_close` as well: after one another, two batches could wait for each other. Raises
    `Temporary` where another replica has closed one meanwhile: filed once more, it opens anew."""
    if not restarts:
        return
    noted = await tx.fetch(_RESTART, list(restarts), list(restarts.values()), list(to_close))
    if len(noted) < len(restarts):
        raise Temporary("an alert ended while it was filed", system="database", operation="file")


# An end from before the present firing, which another replica has noted meanwhile, closes nothing.
_CLOSE = f"""
WITH {_HELD.format(numbers="$1::bigint[]")}
UPDATE episodes e SET closed_at = now(), ends_at = COALESCE(k.ends_at, now()), recovered = k.recovered
FROM unnest($1::bigint[], $2::timestamptz[], $3::bool[]) k(id, ends_at, recovered)
WHERE {_OF_THE_HELD} AND COALESCE(k.ends_at >= e.starts_at, true) RETURNING e.id, e.incident_id
"""  # noqa: S608  # put together from our own constants: every value is a parameter


async def close(tx: Connection, ends: Mapping[int, Alert]) -> dict[int, Alert]:
    """By incident: those that ended of it (the last one told, where there are several)."""
    if not ends:
        return {}
    rows = await tx.fetch(
        _CLOSE, list(ends), [end.ends_at for end in ends.values()], [end.recovered for end in ends.values()]
    )
    return {row["incident_id"]: ends[row["id"]] for row in rows if row["incident_id"] is not None}


_INSERT_ENDED = """
INSERT INTO episodes (source, fingerprint, incident_id, labels, starts_at, ends_at, closed_at, recovered)
SELECT source, fingerprint, incident_id, labels, starts_at, COALESCE(ends_at, now()), now(), recovered
FROM jsonb_to_recordset($1) b(source text, fingerprint text, incident_id bigint, labels jsonb, starts_at timestamptz,
    ends_at timestamptz, recovered bool)
"""


async def insert_ended(tx: Connection, births: Sequence[tuple[Birth, Alert]]) -> None:
    """Those that began and ended within the batch, each with its end."""
    if births:
        rows = [_born(birth) | {"ends_at": end.ends_at, "recovered": end.recovered} for birth, end in births]
        await tx.execute(_INSERT_ENDED, rows)
