"""New incidents with their first escalation deadline, or the open ones that an alert joins."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec.structs import replace

from remediator.domain.alert import Alert
from remediator.domain.errors import Temporary
from remediator.domain.opening import Opening
from remediator.domain.timeline import Entry, EntryKind
from remediator.store.database import Connection, clean


class Requested(msgspec.Struct, frozen=True):
    opening: Opening
    alert: Alert
    """The first of the most severe that ask for it."""


class _Held(msgspec.Struct, frozen=True):
    incident: int
    severity: str
    """Its name, as it was until now."""


@dataclass(frozen=True, slots=True)
class Opened:
    incidents: Mapping[str, int]
    """Run key -> the open incident."""
    told: Sequence[tuple[int, Entry]]
    """For the timelines, which the caller writes in the same transaction."""


def louder(one: Requested, other: Requested) -> Requested:
    """Of two that ask for one incident: the more severe, by the earlier of their deadlines; else the first."""
    most, least = (other, one) if other.opening.outranks(one.opening) else (one, other)
    if most.opening.first_page_in <= least.opening.first_page_in:
        return most
    return replace(most, opening=replace(most.opening, first_page_in=least.opening.first_page_in))


async def open_or_join(tx: Connection, requested: Iterable[Requested], *, ends_in: Collection[int] = ()) -> Opened:
    """Several may ask for one incident. Those in which an alert ends are held with those that one joins. Raises
    `Temporary` where one was resolved while others are held already: filed once more, it opens anew."""
    wanted: dict[str, Requested] = {}
    asking: Counter[str] = Counter()
    for request in requested:
        run_key = clean(request.opening.run_key)
        wanted[run_key] = louder(wanted.get(run_key, request), request)
        asking[run_key] += 1
    joined = await _join(tx, wanted.keys(), ends_in) if wanted or ends_in else {}
    new: dict[str, int] = {}
    if wanted and not joined:
        new, joined = await _open_or_join(tx, wanted, ends_in)
    opened_elsewhere = wanted.keys() - new.keys()
    if opened_elsewhere and not joined:
        joined = await _join(tx, opened_elsewhere, ends_in)
    opened = new | {key: held.incident for key, held in joined.items()}
    if wanted.keys() - opened.keys():
        raise Temporary("an incident was resolved while an alert joined it", system="database", operation="file")
    told = [(number, entry) for key, number in new.items() for entry in wanted[key].opening.entries]
    told += await _make_more_severe(tx, wanted, joined)
    starts = [(opened[key], start_of(request.alert, others=asking[key] - 1)) for key, request in wanted.items()]
    return Opened({request.opening.run_key: opened[key] for key, request in wanted.items()}, starts + told)


# Held until the end of the transaction: no incident that an alert joins is resolved under it. Nobody waits in a circle:
# none is held before all of them are there, so that whoever waits for a new one holds nothing but new ones, by run key;
# then all those that were there are locked in the order of their numbers, as everybody does.
_OPEN = "SELECT id, run_key, severity FROM incidents WHERE run_key = ANY({run_keys}) AND status <> 'resolved'"
# An end may be that of the incident. A start wakes it only where it waits to look again, as it does while all its other
# alerts are silenced: else there is nothing to do for it, and a storm would have its incidents worked on for nothing.
_HOLD = """
UPDATE incidents i SET nudges = nudges + 1,
    wake_at = CASE WHEN i.phase = 'opened' OR i.id = ANY({ends_in}) THEN LEAST(i.wake_at, now()) ELSE i.wake_at END
FROM (SELECT id FROM incidents
      WHERE id = ANY({ends_in} || ARRAY({joinable})) AND status <> 'resolved'
          AND {there} = cardinality({run_keys})
      ORDER BY id FOR NO KEY UPDATE) k
WHERE i.id = k.id RETURNING i.id, i.run_key, i.severity
"""
_ALL_OPEN = "SELECT id FROM open"
_PARAMETERS = {"run_keys": "$1::text[]", "ends_in": "$2::bigint[]", "joinable": _ALL_OPEN}
_JOIN = f"""
WITH open AS MATERIALIZED ({_OPEN.format(**_PARAMETERS)})
{_HOLD.format(there="(SELECT count(*) FROM open)", **_PARAMETERS)}
"""  # noqa: S608  # constants only


async def _join(tx: Connection, run_keys: Collection[str], ends_in: Collection[int]) -> dict[str, _Held]:
    """Run key -> the open incident; nothing is done where one is missing."""
    rows = await tx.fetch(_JOIN, list(run_keys), list(ends_in))
    return {row["run_key"]: _Held(row["id"], row["severity"]) for row in rows}


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
    ON CONFLICT (run_key) WHERE status <> 'resolved' DO NOTHING RETURNING id, run_key, severity
), chain AS (
    INSERT INTO escalations (incident_id, policy, severity, due_at)
    SELECT new.id, o.policy, o.severity, now() + o.first_page_in FROM new JOIN opening o USING (run_key)
), held AS ({_HOLD.replace("{there}", "(SELECT count(*) FROM new) + (SELECT count(*) FROM open)")}
), joined AS (
    SELECT id, run_key, severity, true AS is_new FROM new UNION ALL SELECT id, run_key, severity, false FROM held
)"""  # noqa: S608  # constants only
"""From `opening`, in the order of its run keys, to `joined`. `run_keys`: those of `opening`; `ends_in`: incidents in
which an alert ends. One that has no rule is not opened. Those that were open, and are `joinable`, are joined only where
none is missing: one is that another replica opens or resolves while the statement runs."""
_RANK = "({0} ->> 'respond_within')::interval, NOT ({0} ->> 'urgent')::bool"
_OUTRANKS = f"({_RANK.format('o.severity')}) < ({_RANK.format('c.severity')})"
NOT_OUTRANKED = f"""
SELECT open.id FROM open JOIN opening o USING (run_key)
WHERE open.severity = o.severity ->> 'name'
    OR NOT COALESCE((SELECT {_OUTRANKS} FROM escalations c WHERE c.incident_id = open.id), false)
"""  # noqa: S608  # constants only
"""`joinable`: all but those whose severity is less than what joins. Of an opening `severity` is asked for."""


def severity_of(opening: Opening) -> dict[str, object]:
    """As much of it as `NOT_OUTRANKED` asks for."""
    severity = opening.severity
    return {"name": severity.name, "respond_within": severity.respond_within, "urgent": severity.urgent}


_OPEN_OR_JOIN = f"""
WITH opening AS (SELECT * FROM jsonb_to_recordset($3) o({COLUMNS})), {OPEN_OR_JOIN.format(**_PARAMETERS)}
SELECT id, run_key, severity, is_new FROM joined
"""  # noqa: S608  # constants only


async def _open_or_join(
    tx: Connection, wanted: Mapping[str, Requested], ends_in: Collection[int]
) -> tuple[dict[str, int], dict[str, _Held]]:
    """Those that are new, and those that were open."""
    run_keys = sorted(wanted)
    rows = await tx.fetch(_OPEN_OR_JOIN, run_keys, list(ends_in), [row(wanted[key]) for key in run_keys])
    new = {key: number for number, key, _, is_new in rows if is_new}
    return new, {key: _Held(number, severity) for number, key, severity, is_new in rows if not is_new}


# The incidents are held already, so nothing of them changes; a chain that is struck at this moment is waited for.
_LESSER = f"""
SELECT c.incident_id, c.has_begun, c.severity ->> 'name' AS severity, (
    SELECT acknowledged_by FROM incidents WHERE id = o.id AND status = 'acknowledged'
) AS acknowledged_by
FROM jsonb_to_recordset($1) o(id bigint, severity jsonb) CROSS JOIN LATERAL (
    SELECT incident_id, severity, started_at IS NOT NULL AS has_begun
    FROM escalations WHERE incident_id = o.id LIMIT 1 FOR UPDATE
) c WHERE {_OUTRANKS}
"""  # noqa: S608  # constants only
# Whoever was paged for the lesser, or has it, has not heard of this: people are paged anew, by the other policy.
_MAKE_MORE_SEVERE = """
WITH more AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($1)
        o(id bigint, severity jsonb, policy jsonb, first_page_in interval, anew bool)
), incident AS (
    UPDATE incidents i SET severity = more.severity ->> 'name', status = 'triggered', acknowledged_by = ''
    FROM more WHERE i.id = more.id
)
UPDATE escalations c SET severity = more.severity, policy = more.policy, started_at = NULL, last_step = -1,
    run = c.run + more.anew::int,
    due_at = CASE WHEN more.anew THEN now() ELSE LEAST(c.due_at, now() + more.first_page_in) END
FROM more WHERE c.incident_id = more.id
"""


async def _make_more_severe(
    tx: Connection, wanted: Mapping[str, Requested], joined: Mapping[str, _Held]
) -> list[tuple[int, Entry]]:
    """Those of the incidents whose severity is less than that of what joins them; what is to be told of it."""
    differ = {
        held.incident: wanted[key]
        for key, held in joined.items()
        if key in wanted and held.severity != wanted[key].opening.severity.name
    }
    if not differ:
        return []
    asked = [{"id": number, "severity": severity_of(differ[number].opening)} for number in sorted(differ)]
    lesser = await tx.fetch(_LESSER, asked)
    if lesser:
        await tx.execute(
            _MAKE_MORE_SEVERE, [_made_more_severe(known, differ[known["incident_id"]]) for known in lesser]
        )
    return [(known["incident_id"], _told_more_severe(known, differ[known["incident_id"]])) for known in lesser]


def _made_more_severe(known: Any, request: Requested) -> dict[str, object]:
    return {
        "id": known["incident_id"],
        "severity": request.opening.severity,
        "policy": request.opening.policy,
        "first_page_in": request.opening.first_page_in,
        "anew": _is_known_to_people(known),
    }


def _told_more_severe(known: Any, request: Requested) -> Entry:
    by = known["acknowledged_by"]
    was = known["severity"] + (f", which {by} has acknowledged" if by is not None else "")
    then = "; people are paged anew" if _is_known_to_people(known) else ""
    now = f"it is {request.opening.severity.name} from now on, it was {was}"
    return Entry(EntryKind.NOTE, f"{now}: {request.alert.name} is more severe{then}", "severity")


def _is_known_to_people(known: Any) -> bool:
    return known["has_begun"] or known["acknowledged_by"] is not None


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


AND_MORE = " (and %s more of its alerts)"
"""One line for each incident that a batch tells of, however many of its alerts there are."""


def start_of(alert: Alert, *, others: int = 0) -> Entry:
    more = AND_MORE % others if others else ""
    return Entry(EntryKind.ALERT, f"{alert.name} fires ({alert.source}): {alert.labels_told}{more}")
