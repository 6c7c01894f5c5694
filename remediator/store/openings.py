"""New incidents with their first escalation deadline, or the open ones that an alert joins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from remediator.domain.alert import Alert
from remediator.domain.opening import Opening
from remediator.domain.timeline import Entry, EntryKind
from remediator.store.database import Connection, clean


class Requested(msgspec.Struct, frozen=True):
    opening: Opening
    alert: Alert
    """The first of those that ask for it."""


@dataclass(frozen=True, slots=True)
class Opened:
    incidents: Mapping[str, int]
    """Run key -> the open incident."""
    told: Sequence[tuple[int, Entry]]
    """For the timelines, which the caller writes in the same transaction."""


async def open_or_join(tx: Connection, requested: Sequence[Requested]) -> Opened:
    """A new incident's first deadline is in the same statement: no later fault can cost the page."""
    wanted = {clean(request.opening.run_key): request for request in requested}
    new: dict[str, int] = {}
    joined: dict[str, int] = {}
    # More than once only where an incident was opened or resolved between the two statements.
    while missing := sorted(wanted.keys() - new.keys() - joined.keys()):
        joined |= await _join(tx, missing)
        new |= await _insert(tx, [wanted[key] for key in missing if key not in joined])
    told = [(number, entry) for key, number in new.items() for entry in wanted[key].opening.entries]
    opened = new | joined
    starts = [(opened[key], _start_of(request.alert)) for key, request in wanted.items()]
    return Opened({request.opening.run_key: opened[key] for key, request in wanted.items()}, starts + told)


# Held until the end of the transaction: no incident that an alert joins is resolved under it. Locked in the order of
# their numbers, as everybody does.
_JOIN = """
UPDATE incidents i SET nudges = nudges + 1, wake_at = LEAST(i.wake_at, now())
FROM (SELECT id FROM incidents WHERE run_key = ANY($1::text[]) AND status <> 'resolved'
      ORDER BY id FOR NO KEY UPDATE) k
WHERE i.id = k.id RETURNING i.id, i.run_key
"""


async def _join(tx: Connection, run_keys: Sequence[str]) -> dict[str, int]:
    return {row["run_key"]: row["id"] for row in await tx.fetch(_JOIN, run_keys)}


_INSERT = """
WITH opening AS (
    SELECT * FROM jsonb_to_recordset($1) o(rule text, rule_version text, run_key text, title text, severity jsonb,
        mode text, alert jsonb, target jsonb, policy jsonb, first_page_in interval)
), new AS (
    INSERT INTO incidents (rule, rule_version, run_key, title, severity, mode, alert, target, wake_at)
    SELECT rule, rule_version, run_key, title, severity ->> 'name', mode, alert, target, now() FROM opening
    ON CONFLICT (run_key) WHERE status <> 'resolved' DO NOTHING RETURNING id, run_key
), chain AS (
    INSERT INTO escalations (incident_id, policy, severity, due_at)
    SELECT new.id, o.policy, o.severity, now() + o.first_page_in FROM new JOIN opening o USING (run_key)
)
SELECT id, run_key FROM new
"""


async def _insert(tx: Connection, requested: Sequence[Requested]) -> dict[str, int]:
    if not requested:
        return {}
    rows = await tx.fetch(_INSERT, [_incident(request) for request in requested])
    return {row["run_key"]: row["id"] for row in rows}


def _incident(request: Requested) -> dict[str, object]:
    opening = request.opening
    return {
        "rule": opening.rule,
        "rule_version": opening.rule_version,
        "run_key": opening.run_key,
        "title": opening.title,
        "severity": opening.severity,
        "mode": opening.mode,
        "alert": request.alert,
        "target": opening.target,
        "policy": opening.policy,
        "first_page_in": opening.first_page_in,
    }


def _start_of(alert: Alert) -> Entry:
    labels = ", ".join(f"{name}={value!r}" for name, value in sorted(alert.labels.items()) if name != "alertname")
    return Entry(EntryKind.ALERT, f"{alert.name} fires ({alert.source}): {labels}")
