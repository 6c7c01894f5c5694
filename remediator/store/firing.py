"""Alerts that fire, as most do: a whole batch in one statement, and so in one commit.

It looks them up, keeps the bodies, refreshes the episodes that are open, and opens those of alerts it does not know,
with their incidents where a rule wants one. What it leaves (an alert that has fired before, an incident that somebody
opens or resolves at that moment) is filed as the rest is (`store/filing.py`).
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from remediator.domain.alert import Alert, Delivery
from remediator.domain.filing import Book, Familiar
from remediator.domain.ids import AlertKey
from remediator.domain.opening import Opening
from remediator.store import bodies, episodes, openings, timeline
from remediator.store.database import Connection, clean
from remediator.store.openings import Requested

_TOLD = f"""
WITH told AS (
    SELECT * FROM ROWS FROM (
        jsonb_to_recordset($1) AS (source text, fingerprint text, labels jsonb, starts_at timestamptz, run_key text)
    ) WITH ORDINALITY t(source, fingerprint, labels, starts_at, run_key, position)
), known AS ({episodes.KNOWN}
), unknown AS (
    SELECT * FROM told WHERE labels IS NOT NULL AND position NOT IN (SELECT position FROM known)
), kept AS ({bodies.INSERT.format(bodies="$3", rows="$4")}
)"""  # noqa: S608  # put together from our own constants: every value is a parameter
_SEEN = "SELECT id FROM known WHERE NOT seen_lately"

_OPEN_EPISODES = f"""{_TOLD}, refreshed AS ({episodes.REFRESH.format(numbers=f"({_SEEN}) n")}
), opened AS ({episodes.OPEN.format(rows="SELECT source, fingerprint, NULL::bigint, labels, starts_at FROM unknown")}
)
{episodes.ANSWER}
"""  # noqa: S608  # put together from our own constants: every value is a parameter

# Incidents are held before episodes, as everybody does: whoever tells of an end holds the one and wants the other.
# An opening is for the most severe alert that asks for it; where that one is known after all, it is left, and so is one
# that is more severe than the incident it would join. Most alerts of a storm join an incident that is open: what would
# be needed to open another is brought only where we know of none.
# After what is known come the alerts that began an incident or joined one: their positions as negatives, the incident,
# and whether it is new.
_OPEN_INCIDENTS = f"""{_TOLD}, opening AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($5)
        o({openings.COLUMNS}, first_position bigint, said jsonb, said_if_new jsonb)
    WHERE first_position IN (SELECT position FROM unknown)
), {
    openings.OPEN_OR_JOIN.format(
        run_keys="ARRAY(SELECT run_key FROM opening)", ends_in="'{}'::bigint[]", joinable=openings.NOT_OUTRANKED
    )
}
, told_so AS (
    INSERT INTO timeline (incident_id, kind, path, message, data)
    SELECT joined.id, kind, path,
        message || CASE WHEN kind = 'alert' AND alerts > 1 THEN format('{
    openings.AND_MORE
}', alerts - 1) ELSE '' END, data
    FROM joined JOIN opening USING (run_key)
    JOIN (SELECT run_key, count(*) AS alerts FROM unknown GROUP BY run_key) asking USING (run_key),
    LATERAL jsonb_to_recordset(CASE WHEN is_new THEN said || said_if_new ELSE said END) entry({timeline.FIELDS})
), refreshed AS ({episodes.REFRESH.format(numbers=f"({_SEEN} AND (SELECT count(*) FROM joined) >= 0) n")}), opened AS ({
    episodes.OPEN.format(
        rows='''SELECT source, fingerprint, joined.id, labels, starts_at FROM unknown LEFT JOIN joined USING (run_key)
        WHERE run_key IS NULL OR joined.id IS NOT NULL'''
    )
})
{episodes.ANSWER}
UNION ALL SELECT -position, NULL, NULL, joined.id, is_new, NULL, NULL FROM unknown JOIN joined USING (run_key)
"""  # noqa: S608  # put together from our own constants: every value is a parameter


@dataclass(frozen=True, slots=True)
class Kept:
    books: dict[AlertKey, Book]
    now: datetime
    """By the database's clock."""
    opened: AbstractSet[AlertKey] = frozenset()
    """Those that began an episode, and an incident or joined one where a rule wants it."""
    incidents: int = 0
    """Opened or joined."""
    opened_incidents: int = 0


async def keep(
    connection: Connection,
    deliveries: Iterable[Delivery],
    told: Mapping[AlertKey, Alert],
    *,
    new: Mapping[AlertKey, Opening | None],
    familiar: Familiar,
) -> Kept:
    """`new`: those of `told` that may be new, and the incidents they ask for."""
    rows = [_row(alert, new[key]) if key in new else _key(key) for key, alert in told.items()]
    asked = _asked(told, new, familiar)
    arguments = rows, episodes.SEEN_EVERY, *bodies.rows(deliveries)
    if not asked:
        books, now = episodes.known(told, await connection.fetch(_OPEN_EPISODES, *arguments), refreshed=True)
        return Kept(books, now, new.keys() - books.keys())
    answer = await connection.fetch(_OPEN_INCIDENTS, *arguments, asked)
    books, now = episodes.known(told, [row for row in answer if row["position"] >= 0], refreshed=True)
    joined = [(-position, incident, is_new) for position, _, _, incident, is_new, *_ in answer if position < 0]
    in_order = tuple(told)
    unruled = {key for key, opening in new.items() if opening is None and key not in books}
    return Kept(
        books,
        now,
        opened=unruled.union(in_order[position - 1] for position, _, _ in joined),
        incidents=len({incident for _, incident, _ in joined}),
        opened_incidents=len({incident for _, incident, is_new in joined if is_new}),
    )


def _key(key: AlertKey) -> dict[str, object]:
    return {"source": key[0], "fingerprint": key[1]}


def _row(alert: Alert, opening: Opening | None) -> dict[str, object]:
    row = episodes.row(alert)
    if opening is not None:
        row["run_key"] = opening.run_key
    return row


def _asked(
    told: Mapping[AlertKey, Alert], new: Mapping[AlertKey, Opening | None], familiar: Familiar
) -> list[dict[str, object]]:
    """One opening for each incident, in the order of their run keys."""
    if not any(new.values()):  # what is told again, as most is, pays for no walk
        return []
    loudest: dict[str, tuple[int, Requested]] = {}
    for position, (key, alert) in enumerate(told.items(), start=1):
        opening = new.get(key)
        if opening is None:
            continue
        run_key, request = clean(opening.run_key), Requested(opening, alert)
        before = loudest.get(run_key)
        if before is None:
            loudest[run_key] = position, request
        elif opening.severity is not before[1].opening.severity:
            louder = openings.louder(before[1], request)
            loudest[run_key] = position if louder.alert is alert else before[0], louder
    return [_asked_by(run_key, *loudest[run_key], familiar=familiar) for run_key in sorted(loudest)]


def _asked_by(run_key: str, position: int, request: Requested, *, familiar: Familiar) -> dict[str, object]:
    is_open = familiar.knows_incident(request.opening.run_key)
    return {
        **(_to_join(run_key, request.opening) if is_open else _to_open(request)),
        "first_position": position,
        "said": [timeline.fields(openings.start_of(request.alert))],
    }


def _to_join(run_key: str, opening: Opening) -> dict[str, object]:
    return {"run_key": run_key, "severity": openings.severity_of(opening)}


def _to_open(request: Requested) -> dict[str, object]:
    entries = [timeline.fields(entry) for entry in request.opening.entries]
    return openings.row(request) | {"said_if_new": entries}
