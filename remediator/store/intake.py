"""Files deliveries: bodies, episodes, incidents and their first escalation deadline, in the caller's transaction.

Set-based: a batch costs a handful of statements however many alerts it holds. Whatever is locked or inserted is sorted
first: unsorted batches deadlock (facts: engine).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from remediator.domain.alert import Alert, Delivery
from remediator.domain.episode import EndedEpisode, Filing, OpenEpisode, file_alert
from remediator.domain.ids import EpisodeId
from remediator.domain.opening import Opening
from remediator.domain.timeline import Entry, EntryKind
from remediator.store import incidents, openings, timeline
from remediator.store.database import Connection, clean, to_json

Key = tuple[str, str]
"""(source, fingerprint)"""
OpeningFor = Callable[[Alert], Opening | None]
"""Which incident a new alert opens; None: no rule, the episode alone is kept."""

SEEN_EVERY = timedelta(seconds=10)
"""Alertmanager repeats whole groups: an episode told again sooner than this is not written again."""

_UNBORN = EpisodeId(0)


@dataclass(frozen=True, slots=True)
class FilingResult:
    filings: Mapping[Filing, int]


@dataclass(slots=True)
class _Book:
    """What is known of one alert, updated in memory as the batch is read."""

    open_episode: OpenEpisode | None = None
    last_ended: EndedEpisode | None = None
    seen_lately: bool = False
    born: "_Birth | None" = None
    """An episode of this batch that is still open."""


@dataclass(slots=True)
class _Birth:
    alert: Alert
    ended_by: Alert | None = None
    incident: int | None = None


@dataclass(slots=True)
class _Changes:
    births: list[_Birth] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)
    ends: dict[int, Alert] = field(default_factory=dict)
    filings: Counter[Filing] = field(default_factory=Counter)


async def file_deliveries(tx: Connection, deliveries: Sequence[Delivery], opening_for: OpeningFor) -> FilingResult:
    """Bodies and alerts of whole deliveries."""
    await keep_bodies(tx, deliveries)
    return await file_alerts(tx, [alert for delivery in deliveries for alert in delivery.alerts], opening_for)


async def file_alerts(tx: Connection, alerts: Sequence[Alert], opening_for: OpeningFor) -> FilingResult:
    if not alerts:
        return FilingResult({})
    books, now = await _books(tx, {_key(alert) for alert in alerts})
    changes = _decide(alerts, books, now)
    await _refresh(tx, changes.seen)
    await _close(tx, changes.ends)
    await _open(tx, changes.births, opening_for)
    return FilingResult(changes.filings)


def _key(alert: Alert) -> Key:
    return alert.source, alert.fingerprint


def _decide(alerts: Sequence[Alert], books: Mapping[Key, _Book], now: datetime) -> _Changes:
    """Pure: every alert of the batch in the order told."""
    changes = _Changes()
    for alert in alerts:
        book = books[_key(alert)]
        filing = file_alert(alert, open_episode=book.open_episode, last_ended=book.last_ended, now=now)
        changes.filings[filing] += 1
        if filing is Filing.OPEN:
            book.born = _Birth(alert)
            book.open_episode = OpenEpisode(_UNBORN, alert.starts_at)
            changes.births.append(book.born)
        elif filing is Filing.REFRESH and not book.seen_lately and book.born is None and book.open_episode is not None:
            changes.seen.add(book.open_episode.id)
        elif filing is Filing.CLOSE and book.open_episode is not None:
            if book.born is not None:
                book.born.ended_by = alert
            else:
                changes.ends[book.open_episode.id] = alert
            book.last_ended = EndedEpisode(alert.ends_at or now, now)
            book.open_episode = book.born = None
    return changes


_KEEP_BODIES = """
INSERT INTO deliveries (source, body, alerts, rejected, truncated)
SELECT * FROM unnest($1::text[], $2::bytea[], $3::int[], $4::int[], $5::int[]) RETURNING id
"""

_KEEP_REJECTED = """
INSERT INTO quarantine (delivery_id, source, position, reason, raw)
SELECT * FROM unnest($1::bigint[], $2::text[], $3::int[], $4::text[], $5::bytea[])
"""


async def keep_bodies(tx: Connection, deliveries: Iterable[Delivery]) -> None:
    """As they were sent, with what could not be read of them. What came by a poll has no body to keep."""
    sent = [delivery for delivery in deliveries if delivery.body or delivery.rejected]
    if not sent:
        return
    rows = await tx.fetch(
        _KEEP_BODIES,
        [clean(d.source) for d in sent],
        [d.body for d in sent],
        [len(d.alerts) for d in sent],
        [len(d.rejected) for d in sent],
        [d.truncated for d in sent],
    )
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


# The first row is the time alone; then one row for each alert that is known in any way.
_BOOKS = """
SELECT now() AS now, '' AS source, '' AS fingerprint, NULL::bigint AS id, NULL::timestamptz AS starts_at,
    false AS seen_lately, NULL::timestamptz AS ended_at, NULL::timestamptz AS closed_at
UNION ALL
SELECT now(), k.source, k.fingerprint, o.id, o.starts_at, o.last_seen_at > now() - $3::interval,
    COALESCE(e.ends_at, e.closed_at), e.closed_at
FROM unnest($1::text[], $2::text[]) k(source, fingerprint)
LEFT JOIN LATERAL (
    SELECT id, starts_at, last_seen_at FROM episodes
    WHERE source = k.source AND fingerprint = k.fingerprint AND closed_at IS NULL
) o ON true
LEFT JOIN LATERAL (
    SELECT ends_at, closed_at FROM episodes
    WHERE source = k.source AND fingerprint = k.fingerprint AND closed_at IS NOT NULL
    ORDER BY closed_at DESC LIMIT 1
) e ON true
WHERE o.id IS NOT NULL OR e.closed_at IS NOT NULL
"""


async def _books(tx: Connection, keys: Iterable[Key]) -> tuple[dict[Key, _Book], datetime]:
    books = {key: _Book() for key in keys}
    told, *known = await tx.fetch(
        _BOOKS, [source for source, _ in books], [fingerprint for _, fingerprint in books], SEEN_EVERY
    )
    for row in known:
        book = books[row["source"], row["fingerprint"]]
        if row["id"] is not None:
            book.open_episode = OpenEpisode(EpisodeId(row["id"]), row["starts_at"])
            book.seen_lately = row["seen_lately"]
        if row["closed_at"] is not None:
            book.last_ended = EndedEpisode(row["ended_at"], row["closed_at"])
    return books, told["now"]


async def _refresh(tx: Connection, seen: set[int]) -> None:
    """Skips what another replica is refreshing at this moment: it would write the same."""
    if seen:
        await tx.execute(
            """UPDATE episodes SET last_seen_at = now() WHERE id IN (
                   SELECT id FROM episodes WHERE id = ANY($1::bigint[]) FOR UPDATE SKIP LOCKED)""",
            list(seen),
        )


_CLOSE = """
WITH held AS (
    SELECT id FROM episodes WHERE id = ANY($1::bigint[]) AND closed_at IS NULL ORDER BY id FOR UPDATE
)
UPDATE episodes e SET closed_at = now(), ends_at = COALESCE(k.ends_at, now()), recovered = k.recovered
FROM unnest($1::bigint[], $2::timestamptz[], $3::bool[]) k(id, ends_at, recovered) JOIN held USING (id)
WHERE e.id = k.id RETURNING e.id, e.incident_id
"""


async def _close(tx: Connection, ends: Mapping[int, Alert]) -> None:
    if not ends:
        return
    rows = await tx.fetch(
        _CLOSE, list(ends), [end.ends_at for end in ends.values()], [end.recovered for end in ends.values()]
    )
    told = {row["incident_id"]: ends[row["id"]] for row in rows if row["incident_id"] is not None}
    await incidents.nudge(tx, list(told))
    await timeline.append(tx, [(incident, _end_of(alert)) for incident, alert in told.items()])


async def _open(tx: Connection, births: Sequence[_Birth], opening_for: OpeningFor) -> None:
    found: dict[str, openings.Requested] = {}
    joining: dict[str, list[_Birth]] = {}
    for birth in births:
        opening = opening_for(birth.alert)
        if opening is not None:
            found.setdefault(opening.run_key, openings.Requested(opening, birth.alert))
            joining.setdefault(opening.run_key, []).append(birth)
    opened = await openings.open_or_join(tx, list(found.values()))
    for run_key, group in joining.items():
        for birth in group:
            birth.incident = opened[run_key]
    await _insert_episodes(tx, births)


_INSERT_EPISODES = """
INSERT INTO episodes (source, fingerprint, incident_id, labels, annotations, generator_url, starts_at,
    ends_at, closed_at, recovered)
SELECT source, fingerprint, incident_id, labels::jsonb, annotations::jsonb, generator_url, starts_at,
    CASE WHEN closed THEN COALESCE(ends_at, now()) END, CASE WHEN closed THEN now() END, recovered
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
    $8::timestamptz[], $9::bool[], $10::bool[])
    r(source, fingerprint, incident_id, labels, annotations, generator_url, starts_at, ends_at, closed, recovered)
ON CONFLICT (source, fingerprint) WHERE closed_at IS NULL DO UPDATE SET last_seen_at = now()
"""


async def _insert_episodes(tx: Connection, births: Sequence[_Birth]) -> None:
    """Where another replica opened the same episode a moment ago, ours is a refresh of it."""
    if not births:
        return
    births = sorted(births, key=lambda birth: _key(birth.alert))
    alerts = [birth.alert for birth in births]
    ends = [birth.ended_by for birth in births]
    await tx.execute(
        _INSERT_EPISODES,
        [alert.source for alert in alerts],
        [alert.fingerprint for alert in alerts],
        [birth.incident for birth in births],
        [to_json(alert.labels) for alert in alerts],
        [to_json(alert.annotations) for alert in alerts],
        [clean(alert.generator_url) for alert in alerts],
        [alert.starts_at for alert in alerts],
        [end.ends_at if end else None for end in ends],
        [end is not None for end in ends],
        [end.recovered if end else True for end in ends],
    )


def _end_of(alert: Alert) -> Entry:
    how = "resolved" if alert.recovered else "went away without a recovery"
    return Entry(EntryKind.ALERT, f"{alert.name} {how} ({alert.source})")
