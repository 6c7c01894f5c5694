"""New incidents with their first escalation deadline, or the open ones that an alert joins."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from remediator.domain.alert import Alert
from remediator.domain.errors import Temporary
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


async def open_or_join(tx: Connection, requested: Sequence[Requested], *, ends_in: Collection[int] = ()) -> Opened:
    """Incidents in which an alert ends are held with those that one joins. Raises `Temporary` where one was resolved
    while others are held already: filed once more, it opens anew."""
    wanted = {clean(request.opening.run_key): request for request in requested}
    joined = await _join(tx, wanted.keys(), ends_in) if wanted or ends_in else {}
    new: dict[str, int] = {}
    if wanted and not joined:
        new, joined = await _open_or_join(tx, wanted, ends_in)
    opened_elsewhere = wanted.keys() - new.keys()
    if opened_elsewhere and not joined:
        joined = await _join(tx, opened_elsewhere, ends_in)
    opened = new | joined
    if wanted.keys() - opened.keys():
        raise Temporary("an incident was resolved while an alert joined it", system="database", operation="file")
    told = [(number, entry) for key, number in new.items() for entry in wanted[key].opening.entries]
    starts = [(opened[key], start_of(request.alert)) for key, request in wanted.items()]
    return Opened({request.opening.run_key: opened[key] for key, request in wanted.items()}, starts + told)


# Held until the end of the transaction: no incident that an alert joins is resolved under it. Nobody waits in a circle:
# none is held before all of them are there, so that whoever waits for a new one holds nothing but new ones, by run key;
# then all those that were there are locked in the order of their numbers, as everybody does.
_OPEN = "SELECT id, run_key FROM incidents WHERE run_key = ANY({run_keys}) AND status <> 'resolved'"
# An end may be that of the incident. A start wakes it only where it waits to look again, as it does while all its other
# alerts are silenced: else there is nothing to do for it, and a storm would have its incidents worked on for nothing.
_HOLD = """
UPDATE incidents i SET nudges = nudges + 1,
    wake_at = CASE WHEN i.phase = 'opened' OR i.id = ANY({ends_in}) THEN LEAST(i.wake_at, now()) ELSE i.wake_at END
FROM (SELECT id FROM incidents
      WHERE id = ANY({ends_in} || ARRAY(SELECT id FROM open)) AND status <> 'resolved'
          AND {there} = cardinality({run_keys})
      ORDER BY id FOR NO KEY UPDATE) k
WHERE i.id = k.id RETURNING i.id, i.run_key
"""
_PARAMETERS = {"run_keys": "$1::text[]", "ends_in": "$2::bigint[]"}
_JOIN = f"""
WITH open AS MATERIALIZED ({_OPEN.format(**_PARAMETERS)})
{_HOLD.format(there="(SELECT count(*) FROM open)", **_PARAMETERS)}
"""  # noqa: S608  # constants only


async def _join(tx: Connection, run_keys: Collection[str], ends_in: Collection[int]) -> dict[str, int]:
    """Run key -> the open incident; nothing is done where one is missing."""
    return {row["run_key"]: row["id"] for row in await tx.fetch(_JOIN, list(run_keys), list(ends_in))}


COLUMNS = """rule text, rule_version text, run_key text, title text, severity jsonb, mode text, alert jsonb,
    target jsonb, policy jsonb, first_page_in interval"""
"""Of an `opening`, as `row` tells them."""

# A new incident's first deadline is in the same statement: no later fault can cost the page.
OPEN_OR_JOIN = f"""
open AS MATERIALIZED ({_OPEN}
), new AS (
    INSERT INTO incidents (rule, rule_version, run_key, title, severity, mode, alert, target, wake_at)
    SELECT rule, rule_version, run_key, title, severity ->> 'name', mode, alert, target, now()
    FROM opening WHERE rule IS NOT NULL AND run_key NOT IN (SELECT run_key FROM open)
    ON CONFLICT (run_key) WHERE status <> 'resolved' DO NOTHING RETURNING id, run_key
), chain AS (
    INSERT INTO escalations (incident_id, policy, severity, due_at)
    SELECT new.id, o.policy, o.severity, now() + o.first_page_in FROM new JOIN opening o USING (run_key)
), held AS ({_HOLD.replace("{there}", "(SELECT count(*) FROM new) + (SELECT count(*) FROM open)")}
), joined AS (
    SELECT id, run_key, true AS is_new FROM new UNION ALL SELECT id, run_key, false FROM held
)"""  # noqa: S608  # constants only
"""From `opening`, in the order of its run keys, to `joined`. `run_keys`: those of `opening`; `ends_in`: incidents in
which an alert ends. One that has nothing but its run key is not opened. Those that were open are joined only where none
is missing: one is that another replica opens or resolves while the statement runs."""
_OPEN_OR_JOIN = f"""
WITH opening AS (SELECT * FROM jsonb_to_recordset($3) o({COLUMNS})), {OPEN_OR_JOIN.format(**_PARAMETERS)}
SELECT id, run_key, is_new FROM joined
"""  # noqa: S608  # constants only


async def _open_or_join(
    tx: Connection, wanted: Mapping[str, Requested], ends_in: Collection[int]
) -> tuple[dict[str, int], dict[str, int]]:
    """Those that are new, and those that were open."""
    run_keys = sorted(wanted)
    rows = await tx.fetch(_OPEN_OR_JOIN, run_keys, list(ends_in), [row(wanted[key]) for key in run_keys])
    new = {key: number for number, key, is_new in rows if is_new}
    return new, {key: number for number, key, is_new in rows if not is_new}


def row(request: Requested) -> dict[str, object]:
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


def start_of(alert: Alert) -> Entry:
    labels = ", ".join(f"{name}={value!r}" for name, value in sorted(alert.labels.items()) if name != "alertname")
    return Entry(EntryKind.ALERT, f"{alert.name} fires ({alert.source}): {labels}")
