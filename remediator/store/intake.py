"""Files deliveries: bodies, episodes, incidents and their first escalation deadline, in the caller's transaction.

Set-based: a batch costs a handful of statements however many alerts it holds. Keys are sorted before they are locked
or inserted: unsorted batches deadlock (facts: engine).
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from remediator.domain.alert import Alert, Delivery
from remediator.domain.episode import EndedEpisode, Filing, OpenEpisode, file_alert
from remediator.domain.ids import EpisodeId
from remediator.domain.opening import Opening
from remediator.domain.timeline import Entry, EntryKind
from remediator.store.database import Connection, clean
from remediator.store.documents import to_document

Key = tuple[str, str]
"""(source, fingerprint)"""

_UNBORN = EpisodeId(0)


@dataclass(frozen=True, slots=True)
class FilingResult:
    filings: Mapping[Filing, int]


@dataclass(slots=True)
class _Book:
    """What is known of one alert, updated in memory as the batch is read."""

    open_episode: OpenEpisode | None = None
    last_ended: EndedEpisode | None = None
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
    seen: dict[int, Alert] = field(default_factory=dict)
    ends: dict[int, Alert] = field(default_factory=dict)
    filings: Counter[Filing] = field(default_factory=Counter)


async def file_deliveries(
    tx: Connection, deliveries: Sequence[Delivery], opening_for: Callable[[Alert], Opening | None]
) -> FilingResult:
    """`opening_for` says which incident a new alert opens; None: no rule, the episode alone is kept."""
    await _keep_bodies(tx, deliveries)
    alerts = [alert for delivery in deliveries for alert in delivery.alerts]
    if not alerts:
        return FilingResult({})
    now: datetime = await tx.fetchval("SELECT now()")
    books = await _books(tx, sorted({_key(alert) for alert in alerts}))
    changes = _decide(alerts, books, now)
    await _refresh(tx, changes.seen)
    await _close(tx, changes.ends)
    await _open(tx, changes.births, opening_for)
    return FilingResult(dict(changes.filings))


def _key(alert: Alert) -> Key:
    return clean(alert.source), clean(alert.fingerprint)


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
        elif filing is Filing.REFRESH and book.born is None and book.open_episode is not None:
            changes.seen[book.open_episode.id] = alert
        elif filing is Filing.CLOSE and book.open_episode is not None:
            if book.born is not None:
                book.born.ended_by = alert
            else:
                changes.ends[book.open_episode.id] = alert
            book.last_ended = EndedEpisode(alert.ends_at or now, now)
            book.open_episode = book.born = None
    return changes


async def _keep_bodies(tx: Connection, deliveries: Sequence[Delivery]) -> None:
    rows = await tx.fetch(
        """INSERT INTO deliveries (source, body, alerts, rejected, truncated)
           SELECT * FROM unnest($1::text[], $2::bytea[], $3::int[], $4::int[], $5::int[]) RETURNING id""",
        [clean(d.source) for d in deliveries],
        [d.body for d in deliveries],
        [len(d.alerts) for d in deliveries],
        [len(d.rejected) for d in deliveries],
        [d.truncated for d in deliveries],
    )
    ids = sorted(row["id"] for row in rows)
    await tx.executemany(
        "INSERT INTO quarantine (delivery_id, source, position, reason, raw) VALUES ($1, $2, $3, $4, $5)",
        [
            (delivery_id, clean(delivery.source), rejected.position, clean(rejected.reason), rejected.raw)
            for delivery_id, delivery in zip(ids, deliveries, strict=True)
            for rejected in delivery.rejected
        ],
    )


async def _books(tx: Connection, keys: Sequence[Key]) -> dict[Key, _Book]:
    sources, fingerprints = [k[0] for k in keys], [k[1] for k in keys]
    books = {key: _Book() for key in keys}
    for row in await tx.fetch(
        """SELECT e.id, e.source, e.fingerprint, e.starts_at FROM episodes e
           JOIN unnest($1::text[], $2::text[]) k(source, fingerprint) USING (source, fingerprint)
           WHERE e.closed_at IS NULL ORDER BY e.source, e.fingerprint FOR UPDATE OF e""",
        sources,
        fingerprints,
    ):
        books[row["source"], row["fingerprint"]].open_episode = OpenEpisode(EpisodeId(row["id"]), row["starts_at"])
    for row in await tx.fetch(
        """SELECT k.source, k.fingerprint, e.ends_at, e.closed_at
           FROM unnest($1::text[], $2::text[]) k(source, fingerprint),
           LATERAL (SELECT ends_at, closed_at FROM episodes e
                    WHERE e.source = k.source AND e.fingerprint = k.fingerprint AND e.closed_at IS NOT NULL
                    ORDER BY closed_at DESC LIMIT 1) e""",
        sources,
        fingerprints,
    ):
        ended = EndedEpisode(row["ends_at"] or row["closed_at"], row["closed_at"])
        books[row["source"], row["fingerprint"]].last_ended = ended
    return books


async def _refresh(tx: Connection, seen: Mapping[int, Alert]) -> None:
    if seen:
        await tx.execute("UPDATE episodes SET last_seen_at = now() WHERE id = ANY($1::bigint[])", sorted(seen))


async def _close(tx: Connection, ends: Mapping[int, Alert]) -> None:
    if not ends:
        return
    ids = sorted(ends)
    rows = await tx.fetch(
        """UPDATE episodes e SET closed_at = now(), ends_at = COALESCE(k.ends_at, now()), recovered = k.recovered
           FROM unnest($1::bigint[], $2::timestamptz[], $3::bool[]) k(id, ends_at, recovered)
           WHERE e.id = k.id RETURNING e.id, e.incident_id""",
        ids,
        [ends[i].ends_at for i in ids],
        [ends[i].recovered for i in ids],
    )
    told = {row["incident_id"]: ends[row["id"]] for row in rows if row["incident_id"] is not None}
    await _nudge(tx, sorted(told))
    await _tell(tx, [(incident, _end_of(alert)) for incident, alert in sorted(told.items())])


async def _nudge(tx: Connection, incidents: Sequence[int]) -> None:
    """Locked in the order of their numbers, as everybody does."""
    if incidents:
        await tx.execute(
            """UPDATE incidents i SET nudges = nudges + 1, wake_at = now()
               FROM (SELECT id FROM incidents WHERE id = ANY($1::bigint[]) AND status <> 'resolved'
                     ORDER BY id FOR NO KEY UPDATE) k WHERE i.id = k.id""",
            list(incidents),
        )


async def _open(tx: Connection, births: Sequence[_Birth], opening_for: Callable[[Alert], Opening | None]) -> None:
    openings: dict[str, Opening] = {}
    opened_by: dict[str, list[_Birth]] = {}
    for birth in births:
        opening = opening_for(birth.alert)
        if opening is not None:
            openings.setdefault(opening.run_key, opening)
            opened_by.setdefault(opening.run_key, []).append(birth)
    incidents = await _incidents_for(tx, openings, {key: group[0].alert for key, group in opened_by.items()})
    for run_key, group in opened_by.items():
        for birth in group:
            birth.incident = incidents[run_key]
    await _insert_episodes(tx, births)


async def _incidents_for(
    tx: Connection, openings: Mapping[str, Opening], alerts: Mapping[str, Alert]
) -> dict[str, int]:
    """Run key -> the open incident, new or joined."""
    if not openings:
        return {}
    keys = sorted(openings)
    new = {
        row["run_key"]: row["id"]
        for row in await tx.fetch(
            """INSERT INTO incidents (rule, rule_version, run_key, title, severity, mode, alert, target, wake_at)
               SELECT r.*, now() FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                   $7::jsonb[], $8::jsonb[]) r
               ON CONFLICT (run_key) WHERE status <> 'resolved' DO NOTHING RETURNING id, run_key""",
            *_incident_columns([openings[key] for key in keys], [alerts[key] for key in keys]),
        )
    }
    known = await tx.fetch("SELECT id, run_key FROM incidents WHERE run_key = ANY($1) AND status <> 'resolved'", keys)
    joined = {row["run_key"]: row["id"] for row in known if row["run_key"] not in new}
    await _nudge(tx, sorted(joined.values()))
    await tx.executemany(
        "INSERT INTO escalations (incident_id, policy, severity, due_at) VALUES ($1, $2, $3, now() + $4::interval)",
        [
            (
                new[key],
                to_document(openings[key].policy),
                to_document(openings[key].severity),
                openings[key].first_page_in,
            )
            for key in sorted(new)
        ],
    )
    await _tell(
        tx,
        [(new[key], entry) for key in sorted(new) for entry in (_start_of(alerts[key]), *openings[key].entries)]
        + [(joined[key], _start_of(alerts[key])) for key in sorted(joined)],
    )
    return joined | new


def _incident_columns(openings: Sequence[Opening], alerts: Sequence[Alert]) -> tuple[list[Any], ...]:
    return (
        [o.rule for o in openings],
        [o.rule_version for o in openings],
        [clean(o.run_key) for o in openings],
        [clean(o.title) for o in openings],
        [o.severity.name for o in openings],
        [o.mode for o in openings],
        [to_document(alert) for alert in alerts],
        [to_document(o.target) if o.target is not None else None for o in openings],
    )


async def _insert_episodes(tx: Connection, births: Sequence[_Birth]) -> None:
    """Where another replica opened the same episode a moment ago, ours is a refresh of it."""
    births = sorted(births, key=lambda birth: _key(birth.alert))
    if not births:
        return
    await tx.execute(
        """INSERT INTO episodes (source, fingerprint, incident_id, labels, annotations, generator_url, starts_at,
               ends_at, closed_at, recovered)
           SELECT source, fingerprint, incident_id, labels, annotations, generator_url, starts_at,
               CASE WHEN closed THEN COALESCE(ends_at, now()) END, CASE WHEN closed THEN now() END, recovered
           FROM unnest($1::text[], $2::text[], $3::bigint[], $4::jsonb[], $5::jsonb[], $6::text[], $7::timestamptz[],
               $8::timestamptz[], $9::bool[], $10::bool[])
               r(source, fingerprint, incident_id, labels, annotations, generator_url, starts_at,
                 ends_at, closed, recovered)
           ON CONFLICT (source, fingerprint) WHERE closed_at IS NULL DO UPDATE SET last_seen_at = now()""",
        [_key(b.alert)[0] for b in births],
        [_key(b.alert)[1] for b in births],
        [b.incident for b in births],
        [to_document(b.alert.labels) for b in births],
        [to_document(b.alert.annotations) for b in births],
        [clean(b.alert.generator_url) for b in births],
        [b.alert.starts_at for b in births],
        [b.ended_by.ends_at if b.ended_by else None for b in births],
        [b.ended_by is not None for b in births],
        [b.ended_by.recovered if b.ended_by else True for b in births],
    )


async def _tell(tx: Connection, told: Sequence[tuple[int, Entry]]) -> None:
    await tx.executemany(
        "INSERT INTO timeline (incident_id, kind, path, message, data) VALUES ($1, $2, $3, $4, $5)",
        [(incident, e.kind, clean(e.path), clean(e.message), to_document(e.data)) for incident, e in told],
    )


def _start_of(alert: Alert) -> Entry:
    return Entry(EntryKind.ALERT, f"{alert.name} fires ({alert.source}): {_labels(alert)}")


def _end_of(alert: Alert) -> Entry:
    how = "resolved" if alert.recovered else "went away without a recovery"
    return Entry(EntryKind.ALERT, f"{alert.name} {how} ({alert.source})")


def _labels(alert: Alert) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in sorted(alert.labels.items()) if name != "alertname")
