"""What a poll reads and writes of open episodes: counters of absence, suppressions, and what people are told of it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any

from remediator.domain.alert import Alert, AlertStatus
from remediator.domain.ids import EpisodeId, Fingerprint, IncidentId, SourceName
from remediator.domain.reconciliation import PRESENT, Absence, KnownEpisode, Repairs
from remediator.domain.timeline import Entry, EntryKind
from remediator.store import timeline
from remediator.store.database import Connection, clean

_HEARSAY = ", as last heard"
"""Behind a suppression of which nobody answers any more."""

OPEN_EPISODES = """
SELECT id, fingerprint, starts_at, last_seen_at, missed_polls, missed_since, suppressed_by, is_listed
FROM episodes WHERE source = $1 AND closed_at IS NULL
"""


async def open_episodes(connection: Connection, source: SourceName) -> list[KnownEpisode]:
    return [
        KnownEpisode(EpisodeId(row["id"]), Fingerprint(row["fingerprint"]), *row[2:])
        for row in await connection.fetch(OPEN_EPISODES, source)
    ]


# A fix that was held for it is judged again as soon as it is lifted.
_NUDGE_LIFTED = """
UPDATE incidents i SET nudges = nudges + 1, wake_at = now()
FROM (SELECT id FROM incidents WHERE status <> 'resolved' AND phase = 'opened' AND id = ANY(ARRAY(
          SELECT incident_id FROM episodes WHERE id = ANY($1::bigint[]) AND closed_at IS NULL))
      ORDER BY id FOR NO KEY UPDATE) k
WHERE i.id = k.id
"""
_HOLD = "SELECT FROM episodes WHERE id = ANY($1::bigint[]) AND closed_at IS NULL ORDER BY id FOR UPDATE"


async def keep(tx: Connection, source: SourceName, repairs: Repairs) -> None:
    """Of episodes that are open still."""
    await _change(tx, repairs, in_words=lambda row: _suppression(row, source))


async def forget(tx: Connection, source: SourceName) -> None:
    """All that polls have said of its open episodes: nobody would ever take it back."""
    known = await open_episodes(tx, source)
    absences = {episode.id: PRESENT for episode in known if episode.missed_polls}
    suppressions = {episode.id: "" for episode in known if episode.suppressed_by}
    forgotten = Repairs(absences=absences, suppressions=suppressions)
    await _change(tx, forgotten, in_words=lambda row: _unknown_suppression(row, source))


async def tell_unheard(tx: Connection, source: SourceName) -> None:
    """Once of each episode: that the suppression which holds its fix is hearsay by now. It holds on."""
    known = await open_episodes(tx, source)
    hearsay = {
        episode.id: episode.suppressed_by + _HEARSAY
        for episode in known
        if episode.suppressed_by and not episode.suppressed_by.endswith(_HEARSAY)
    }
    await _change(tx, Repairs(suppressions=hearsay), in_words=lambda row: _unheard_suppression(row, source))


async def _change(tx: Connection, repairs: Repairs, *, in_words: Callable[[Any], str]) -> None:
    """Locks in the order in which intake does: incidents, then episodes."""
    lifted = sorted(number for number, by in repairs.suppressions.items() if not by)
    if lifted:
        await tx.execute(_NUDGE_LIFTED, lifted)
    await tx.execute(_HOLD, sorted({*repairs.absences, *repairs.suppressions, *repairs.listed}))
    await _keep_absences(tx, repairs.absences)
    await _keep_listed(tx, repairs.listed)
    await _suppress(tx, repairs.suppressions, in_words)


_KEEP_ABSENCES = """
UPDATE episodes e SET missed_polls = told.polls, missed_since = told.since
FROM unnest($1::bigint[], $2::integer[], $3::timestamptz[]) told(id, polls, since)
WHERE e.id = told.id AND e.closed_at IS NULL
"""


async def _keep_absences(tx: Connection, absences: Mapping[EpisodeId, Absence]) -> None:
    if absences:
        ids = sorted(absences)
        await tx.execute(_KEEP_ABSENCES, ids, [absences[i].polls for i in ids], [absences[i].since for i in ids])


async def _keep_listed(tx: Connection, listed: Sequence[EpisodeId]) -> None:
    if listed:
        await tx.execute(
            "UPDATE episodes SET is_listed = true WHERE id = ANY($1::bigint[]) AND closed_at IS NULL", sorted(listed)
        )


_SUPPRESS = """
WITH held AS (
    SELECT id, suppressed_by AS was FROM episodes WHERE id = ANY($1::bigint[]) AND closed_at IS NULL
)
UPDATE episodes e SET suppressed_by = told.by
FROM unnest($1::bigint[], $2::text[]) told(id, by) JOIN held USING (id)
WHERE e.id = told.id
RETURNING e.incident_id, e.labels ->> 'alertname' AS name, e.suppressed_by AS by, held.was
"""


async def _suppress(tx: Connection, suppressions: Mapping[EpisodeId, str], in_words: Callable[[Any], str]) -> None:
    """Told on the incidents."""
    if not suppressions:
        return
    ids = sorted(suppressions)
    rows = [row for row in await tx.fetch(_SUPPRESS, ids, [clean(suppressions[i]) for i in ids]) if row["incident_id"]]
    await _tell(tx, [(row["incident_id"], in_words(row)) for row in rows])


async def alerts_of(
    connection: Connection, ids: Sequence[EpisodeId], *, untold_since: datetime
) -> dict[EpisodeId, Alert]:
    """Of open episodes: what tells them apart, for a notification that ends them."""
    rows = await connection.fetch(
        """SELECT id, source, fingerprint, labels, starts_at FROM episodes
           WHERE id = ANY($1::bigint[]) AND closed_at IS NULL AND last_seen_at < $2 ORDER BY source, fingerprint""",
        list(ids),
        untold_since,
    )
    return {
        EpisodeId(row["id"]): Alert(
            source=SourceName(row["source"]),
            fingerprint=Fingerprint(row["fingerprint"]),
            status=AlertStatus.FIRING,
            labels=row["labels"],
            starts_at=row["starts_at"],
        )
        for row in rows
    }


async def tell_gone(tx: Connection, source: SourceName, gone: Mapping[EpisodeId, Absence]) -> None:
    """On the incidents of these episodes, before they are closed."""
    rows = await _open_of_incidents(tx, list(gone))
    await _tell(tx, [(row["incident_id"], _absence(row["name"], gone[row["id"]], source)) for row in rows])


async def tell_foreign(tx: Connection, source: SourceName, foreign: Sequence[EpisodeId]) -> None:
    """On the incidents of these episodes, which stay open."""
    rows = await _open_of_incidents(tx, foreign)
    await _tell(tx, [(row["incident_id"], _never_listed(row["name"], source)) for row in rows])


async def _open_of_incidents(tx: Connection, episodes: Sequence[EpisodeId]) -> Sequence[Any]:
    if not episodes:
        return ()
    return await tx.fetch(
        """SELECT id, incident_id, labels ->> 'alertname' AS name FROM episodes
           WHERE id = ANY($1::bigint[]) AND closed_at IS NULL AND incident_id IS NOT NULL ORDER BY id""",
        sorted(episodes),
    )


# What was found in a list was listed: the next one need not have it again.
_FOUND = """
WITH found AS MATERIALIZED (
    SELECT id FROM episodes WHERE source = $1 AND fingerprint = ANY($2) AND closed_at IS NULL AND opened_at >= $3
    ORDER BY id FOR UPDATE
)
UPDATE episodes SET is_listed = true WHERE id = ANY(ARRAY(SELECT id FROM found))
RETURNING id, incident_id, labels ->> 'alertname' AS name
"""


async def tell_opened(
    tx: Connection, source: SourceName, fingerprints: Sequence[Fingerprint], *, since: datetime
) -> int:
    """How many of them opened an episode; each incident is told how it was found."""
    rows = await tx.fetch(_FOUND, source, list(fingerprints), since)
    found = f"was found by polling {source}: no webhook had told us of it"
    told = [(row["incident_id"], f"{row['name']} {found}") for row in sorted(rows, key=itemgetter("id"))]
    await _tell(tx, [(incident, sentence) for incident, sentence in told if incident])
    return len(rows)


async def count_closed(connection: Connection, ids: Sequence[EpisodeId], *, since: datetime) -> int:
    found: int = await connection.fetchval(
        "SELECT count(*) FROM episodes WHERE id = ANY($1::bigint[]) AND closed_at >= $2", list(ids), since
    )
    return found


def _suppression(row: Any, source: SourceName) -> str:
    if row["by"]:
        return f"{row['name']} is suppressed at its source ({source}): {row['by']}; no fix begins meanwhile"
    return f"{row['name']} is no longer suppressed at its source ({source}); it was by {row['was']}"


def _unknown_suppression(row: Any, source: SourceName) -> str:
    known = f"nobody polls {source} any more, where {row['name']} was suppressed by {row['was']}"
    return f"{known}: whether it still is, is not known, and holds no fix"


def _unheard_suppression(row: Any, source: SourceName) -> str:
    known = f"no peer of {source} answers any more, where {row['name']} was suppressed by {row['was']}"
    return f"{known}: no fix begins until one does, for what the silence was for may go on"


def _never_listed(name: str, source: SourceName) -> str:
    asked = f"no peer of {source} has ever listed {name}: does another Alertmanager use its login?"
    return f"{asked} Polls do not end it: its sender's resolve does, or a person"


def _absence(name: str, absence: Absence, source: SourceName) -> str:
    return f"{name} has been listed by no peer of {source} in {absence.polls} polls since {absence.since:%H:%M:%S} UTC"


async def _tell(tx: Connection, told: Sequence[tuple[IncidentId, str]]) -> None:
    """The same sentence once an incident: a silence may cover hundreds of its alerts."""
    await timeline.append(
        tx, [(incident, Entry(EntryKind.ALERT, message)) for incident, message in dict.fromkeys(told)]
    )
