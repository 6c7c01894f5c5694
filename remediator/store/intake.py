"""Files deliveries: bodies, episodes, incidents and their first escalation deadline, in one commit.

Set-based: a batch costs a handful of statements however many alerts it holds. Whatever is locked or inserted is sorted
first: unsorted batches deadlock (facts: engine).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter

from remediator.domain.alert import Alert, Delivery
from remediator.domain.episode import EndedEpisode, Filing, OpenEpisode
from remediator.domain.errors import Temporary
from remediator.domain.filing import Birth, Book, Changes, decide
from remediator.domain.ids import EpisodeId, Fingerprint, SourceName
from remediator.domain.opening import Opening
from remediator.domain.timeline import Entry, EntryKind
from remediator.marks import Mark, reached
from remediator.store import incidents, openings, timeline
from remediator.store.bodies import packed
from remediator.store.database import Connection, clean, to_json

OpeningFor = Callable[[Alert], Opening | None]
"""Which incident a new alert opens; None: no rule, the episode alone is kept."""

SEEN_EVERY = timedelta(seconds=10)
"""Alertmanager repeats whole groups: an episode told again sooner than this is not written again."""


@dataclass(frozen=True, slots=True)
class FilingResult:
    filings: Mapping[Filing, int]
    incidents: int
    """Opened, joined or told of an end: whether there is anything to do."""


async def file_deliveries(
    connection: Connection, deliveries: Sequence[Delivery], opening_for: OpeningFor
) -> FilingResult:
    """Bodies and alerts of whole deliveries."""
    told: dict[SourceName, list[Alert]] = {}
    for delivery in deliveries:
        told.setdefault(delivery.source, []).extend(delivery.alerts)
    return await file(connection, deliveries, told, opening_for)


async def file(
    connection: Connection,
    bodies: Sequence[Delivery],
    told: Mapping[SourceName, Sequence[Alert]],
    opening_for: OpeningFor,
) -> FilingResult:
    """All of it in one commit, with nothing open on `connection` before or after.

    What nobody needs to hear of, as most deliveries, is one statement. What was read before it may have changed: each
    statement holds by itself (`ON CONFLICT`, `closed_at IS NULL`), as it must beside other replicas.
    """
    changes = [await _changes(connection, source, told[source], opening_for) for source in sorted(told)]
    filings = sum((change.filings for change in changes), Counter[Filing]())
    if all(change.is_quiet for change in changes) and not any(delivery.rejected for delivery in bodies):
        await _write(connection, bodies, changes, ())
        return FilingResult(filings, incidents=0)
    async with connection.transaction():
        entries = [entry for change in changes for entry in await _apply(connection, change)]
        if any(delivery.rejected for delivery in bodies):
            await keep_bodies(connection, bodies)
            bodies = ()
        await _write(connection, bodies, changes, entries)
        reached(Mark.DELIVERY_FILED)
    return FilingResult(filings, incidents=len({incident for incident, _ in entries}))


async def _changes(
    connection: Connection, source: SourceName, alerts: Sequence[Alert], opening_for: OpeningFor
) -> Changes:
    books, now = await _books(connection, source, alerts)
    changes = decide(source, alerts, books, now)
    for birth in changes.births:
        birth.opening = opening_for(birth.alert)
    return changes


async def _apply(tx: Connection, changes: Changes) -> list[tuple[int, Entry]]:
    """What others may be at as well, each held against them until the end of the transaction; what the incidents'
    timelines are to say of it."""
    await _restart(tx, changes.restarts)
    ends = await _close(tx, changes.ends)
    starts = await _open(tx, changes.births)
    ended = [(birth, birth.ended_by) for birth in changes.births if birth.ended_by is not None]
    of_nothing = [(Birth(end, end.starts_at), end) for end in changes.ends_of_nothing]
    await _insert_ended(tx, changes.source, ended + of_nothing)
    return ends + starts


# Rows travel as one JSON document: an array for each column costs three times as much to send (see ARCHITECTURE).
_BODIES = """
INSERT INTO deliveries (source, body, alerts, rejected, truncated)
SELECT source, body, alerts, rejected, truncated FROM ROWS FROM (
    unnest($1::bytea[]), jsonb_to_recordset($2) AS (source text, alerts int, rejected int, truncated int)
) d(body, source, alerts, rejected, truncated)
"""
_KEEP_BODIES = f"{_BODIES} RETURNING id"
_KEEP_REJECTED = """
INSERT INTO quarantine (delivery_id, source, position, reason, raw)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::int[], $4::text[], $5::bytea[])
"""


async def keep_bodies(tx: Connection, deliveries: Iterable[Delivery]) -> None:
    """As they were sent, with what could not be read of them. What came by a poll has no body to keep."""
    sent = [delivery for delivery in deliveries if delivery.body or delivery.rejected]
    if not sent:
        return
    rows = await tx.fetch(_KEEP_BODIES, *_bodies(sent))
    numbers = sorted(row["id"] for row in rows)
    put_aside = [(number, d, r) for number, d in zip(numbers, sent, strict=True) for r in d.rejected]
    if put_aside:
        await tx.execute(
            _KEEP_REJECTED,
            [number for number, _, _ in put_aside],
            [clean(delivery.source) for _, delivery, _ in put_aside],
            [rejected.position for _, _, rejected in put_aside],
            [clean(rejected.reason) for _, _, rejected in put_aside],
            [rejected.raw for _, _, rejected in put_aside],
        )


def _bodies(sent: Sequence[Delivery]) -> tuple[list[bytes], list[dict[str, object]]]:
    return [packed(d.body) for d in sent], [
        {"source": d.source, "alerts": len(d.alerts), "rejected": len(d.rejected), "truncated": d.truncated}
        for d in sent
    ]


# The first row is the time alone; then one row for each alert that is known in any way. There is one open episode at
# most; LIMIT keeps the look-ups apart, else they may become a join that reads every open episode of the source.
_BOOKS = """
SELECT 0 AS position, NULL::bigint AS id, NULL::timestamptz AS starts_at, false AS seen_lately,
    NULL::timestamptz AS ended_at, now() AS closed_at
UNION ALL
SELECT k.position, o.id, o.starts_at, o.last_seen_at > now() - $3::interval,
    COALESCE(e.ends_at, e.closed_at), e.closed_at
FROM jsonb_array_elements_text($2) WITH ORDINALITY k(fingerprint, position)
LEFT JOIN LATERAL (
    SELECT id, starts_at, last_seen_at FROM episodes
    WHERE source = $1 AND fingerprint = k.fingerprint AND closed_at IS NULL LIMIT 1
) o ON true
LEFT JOIN LATERAL (
    SELECT ends_at, closed_at FROM episodes
    WHERE source = $1 AND fingerprint = k.fingerprint AND closed_at IS NOT NULL AND o.id IS NULL
    ORDER BY closed_at DESC LIMIT 1
) e ON true
WHERE o.id IS NOT NULL OR e.closed_at IS NOT NULL
"""


async def _books(
    tx: Connection, source: SourceName, alerts: Sequence[Alert]
) -> tuple[dict[Fingerprint, Book], datetime]:
    books = {alert.fingerprint: Book() for alert in alerts}
    in_order = list(books.values())
    told, *known = await tx.fetch(_BOOKS, source, list(books), SEEN_EVERY)
    for position, number, starts_at, seen_lately, ended_at, closed_at in known:
        book = in_order[position - 1]
        if number is None:
            book.last_ended = EndedEpisode(ended_at, closed_at)
        else:
            book.open_episode = OpenEpisode(EpisodeId(number), starts_at)
            book.seen_lately = seen_lately
    return books, told["closed_at"]


# Where another replica opened the same episode a moment ago, ours is a refresh of it; what another refreshes at this
# moment is skipped, for it would write the same. Annotations and links are where they are of use: in the incident's
# alert, and in the body as it was sent.
_WRITE = f"""
WITH kept AS ({_BODIES}), refreshed AS (
    UPDATE episodes SET last_seen_at = now() WHERE id IN (
        SELECT id FROM episodes WHERE id = ANY($3::bigint[]) FOR UPDATE SKIP LOCKED)
), told AS (
    {timeline.APPEND.format(rows="$4")}
)
INSERT INTO episodes (source, fingerprint, incident_id, labels, starts_at)
SELECT * FROM jsonb_to_recordset($5)
    b(source text, fingerprint text, incident_id bigint, labels jsonb, starts_at timestamptz)
ON CONFLICT (source, fingerprint) WHERE closed_at IS NULL DO UPDATE SET last_seen_at = now()
"""  # noqa: S608  # put together from our own constants: every value is a parameter


async def _write(
    connection: Connection,
    bodies: Sequence[Delivery],
    changes: Sequence[Changes],
    entries: Sequence[tuple[int, Entry]],
) -> None:
    """Bodies, refreshed and new episodes, and what the timelines say: all that needs no answer, in one statement."""
    sent = [delivery for delivery in bodies if delivery.body]
    seen = [number for change in changes for number in change.seen]
    births = [birth for change in changes for birth in change.births if birth.ended_by is None]
    if sent or seen or entries or births:
        await connection.execute(
            _WRITE,
            *_bodies(sent),
            seen,
            timeline.rows(entries),
            sorted(map(_episode, births), key=itemgetter("source", "fingerprint")),
        )


def _episode(birth: Birth) -> dict[str, object]:
    return {
        "source": birth.alert.source,
        "fingerprint": birth.alert.fingerprint,
        "incident_id": birth.incident,
        "labels": birth.alert.labels,
        "starts_at": birth.starts_at,
    }


_RESTART = """
WITH held AS (
    SELECT id FROM episodes WHERE id = ANY($1::bigint[]) AND closed_at IS NULL ORDER BY id FOR UPDATE
)
UPDATE episodes e SET last_seen_at = now(), starts_at = GREATEST(e.starts_at, k.starts_at)
FROM unnest($1::bigint[], $2::timestamptz[]) k(id, starts_at) JOIN held USING (id) WHERE e.id = k.id RETURNING e.id
"""


async def _restart(tx: Connection, restarts: Mapping[int, datetime]) -> None:
    """Raises `Temporary` where another replica has closed one meanwhile: filed once more, it opens anew."""
    if not restarts:
        return
    noted = await tx.fetch(_RESTART, list(restarts), list(restarts.values()))
    if len(noted) < len(restarts):
        raise Temporary("an alert ended while it was filed", system="database", operation="file")


# An end from before the present firing, which another replica has noted meanwhile, closes nothing.
_CLOSE = """
WITH held AS (
    SELECT id FROM episodes WHERE id = ANY($1::bigint[]) AND closed_at IS NULL ORDER BY id FOR UPDATE
)
UPDATE episodes e SET closed_at = now(), ends_at = COALESCE(k.ends_at, now()), recovered = k.recovered
FROM unnest($1::bigint[], $2::timestamptz[], $3::bool[]) k(id, ends_at, recovered) JOIN held USING (id)
WHERE e.id = k.id AND COALESCE(k.ends_at >= e.starts_at, true) RETURNING e.id, e.incident_id
"""


async def _close(tx: Connection, ends: Mapping[int, Alert]) -> list[tuple[int, Entry]]:
    """Their incidents wake; gives what is to be told of it."""
    if not ends:
        return []
    rows = await tx.fetch(
        _CLOSE, list(ends), [end.ends_at for end in ends.values()], [end.recovered for end in ends.values()]
    )
    told = {row["incident_id"]: ends[row["id"]] for row in rows if row["incident_id"] is not None}
    await incidents.nudge(tx, list(told))
    return [(incident, _end_of(alert)) for incident, alert in told.items()]


async def _open(tx: Connection, births: Sequence[Birth]) -> list[tuple[int, Entry]]:
    """Incidents opened or joined, and told to the births that asked for them; gives what is to be told of it."""
    requested: dict[str, openings.Requested] = {}
    for birth in births:
        if birth.opening is not None:
            requested.setdefault(birth.opening.run_key, openings.Requested(birth.opening, birth.alert))
    opened = await openings.open_or_join(tx, list(requested.values()))
    for birth in births:
        if birth.opening is not None:
            birth.incident = opened.incidents[birth.opening.run_key]
    return list(opened.told)


_INSERT_ENDED = """
INSERT INTO episodes (source, fingerprint, incident_id, labels, starts_at, ends_at, closed_at, recovered)
SELECT $1, fingerprint, incident_id, labels::jsonb, starts_at, COALESCE(ends_at, now()), now(), recovered
FROM unnest($2::text[], $3::bigint[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::bool[])
    r(fingerprint, incident_id, labels, starts_at, ends_at, recovered)
"""


async def _insert_ended(tx: Connection, source: SourceName, births: Sequence[tuple[Birth, Alert]]) -> None:
    """Those that began and ended within the batch."""
    if births:
        await tx.execute(
            _INSERT_ENDED,
            source,
            [birth.alert.fingerprint for birth, _ in births],
            [birth.incident for birth, _ in births],
            [to_json(birth.alert.labels) for birth, _ in births],
            [birth.starts_at for birth, _ in births],
            [end.ends_at for _, end in births],
            [end.recovered for _, end in births],
        )


def _end_of(alert: Alert) -> Entry:
    how = "resolved" if alert.recovered else "went away without a recovery"
    return Entry(EntryKind.ALERT, f"{alert.name} {how} ({alert.source})")
