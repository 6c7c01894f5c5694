"""Messages to people, from the transaction that decided them to the channel that took them. At least once."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import structlog
from msgspec.structs import replace

from remediator.domain.briefing import Briefing
from remediator.domain.ids import IncidentId, RuleName
from remediator.domain.incident import Status
from remediator.domain.notification import LEFT_BEHIND, Notification, NotificationKind, Receipt
from remediator.domain.oncall import Contact
from remediator.domain.timeline import Entry, EntryKind
from remediator.store import briefings, timeline
from remediator.store.database import Connection, clean, to_json
from remediator.store.documents import from_json, readable

log = structlog.get_logger()

_LAST_RESORT = "::last-resort"
"""The end of a key, which no name of a channel or a person can be: none is empty."""
_FOR_ITS_CHAIN = f"split_part(dedup_key, ':', 2) <> '{LEFT_BEHIND}'"
"""As `Notification.ends_with_its_chain` has it."""
_OF_A_CHAIN = f"kind = 'page' AND {_FOR_ITS_CHAIN}"


class Outgoing(msgspec.Struct, frozen=True):
    notification: Notification
    reach: tuple[Contact, ...]
    """In the order to be tried."""
    rule: RuleName
    """Rules take turns at being sent."""


class OutboxItem(msgspec.Struct, frozen=True):
    id: int
    epoch: int
    attempts: int
    """On the first contact of `reach`."""
    reach: tuple[Contact, ...]
    """Those still to try; the first is under way."""
    notification: Notification
    age: timedelta = timedelta()
    """When it was claimed, since it was ordered."""
    about: Briefing | None = None
    """Of a page that its chain has ordered: what is known by now, to be told instead of what was known then."""

    @property
    def incident(self) -> IncidentId:
        return self.notification.incident

    @property
    def kind(self) -> NotificationKind:
        return self.notification.kind

    @property
    def recipient(self) -> str:
        return self.notification.recipient

    @property
    def is_last_resort(self) -> bool:
        return self.notification.dedup_key.endswith(_LAST_RESORT)

    @property
    def contact(self) -> Contact:
        """Who is to be reached now, and by which channel."""
        return self.reach[0]

    @property
    def addressed(self) -> Notification:
        return replace(self.notification, channel=self.contact.channel, address=self.contact.address)


_ENQUEUE = """
INSERT INTO outbox (incident_id, dedup_key, kind, recipient, reach, notification, rule)
SELECT (n ->> 'incident')::bigint, n ->> 'dedup_key', n ->> 'kind', n ->> 'recipient', m -> 'reach', n, m ->> 'rule'
FROM (SELECT m, m -> 'notification' AS n FROM jsonb_array_elements($1) m) m
ON CONFLICT (dedup_key) DO NOTHING
"""


async def enqueue(tx: Connection, messages: Sequence[Outgoing]) -> None:
    """A message whose dedup key is known already is the same message."""
    reaching = [message for message in messages if message.reach]
    if reaching:
        await tx.execute(_ENQUEUE, reaching)


async def is_told(connection: Connection, incident: IncidentId, *, key_begins: str) -> bool:
    """Whether a message about it whose key begins so was ever ordered."""
    told: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM outbox WHERE incident_id = $1 AND starts_with(dedup_key, $2))", incident, key_begins
    )
    return told


class PagesAlike(msgspec.Struct, frozen=True):
    """The same message about each of many incidents. What it says of each is read when it is sent."""

    incidents: Sequence[IncidentId]
    run: int
    step: int
    key: str
    """The end of the dedup key, after the incident, the run of its chain and the step."""
    kind: NotificationKind
    recipient: str
    reach: tuple[Contact, ...]
    incidents_url: str
    """The incident's number is missing."""


# The text is for when the incident cannot be read: from memory while the database is lost, or by another release.
_ORDER_PAGES = """
INSERT INTO outbox (incident_id, dedup_key, kind, recipient, reach, rule, notification)
SELECT i.id, i.key, m.kind, m.recipient, m.reach, i.rule, jsonb_build_object(
    'incident', i.id, 'kind', m.kind, 'dedup_key', i.key, 'recipient', m.recipient, 'channel', '', 'address', '',
    'title', i.title, 'severity', i.severity, 'incident_url', m.incidents_url || i.id,
    'body', 'incident ' || i.id || ', severity ' || i.severity || ', rule ' || i.rule)
FROM jsonb_to_recordset($1) m(
    incidents bigint[], run bigint, step int, key text, kind text, recipient text, reach jsonb, incidents_url text
), unnest(m.incidents) number CROSS JOIN LATERAL (
    SELECT id, rule, title, severity, concat_ws(':', id, m.run, m.step, m.key) AS key
    FROM incidents WHERE id = number LIMIT 1
) i
ON CONFLICT (dedup_key) DO NOTHING
"""


async def order_pages(tx: Connection, pages: Sequence[PagesAlike]) -> None:
    """As `enqueue`; one statement for however many."""
    reaching = [alike for alike in pages if alike.reach]
    if reaching:
        await tx.execute(_ORDER_PAGES, reaching)


_ENQUEUE_LAST_RESORT = """
INSERT INTO outbox (incident_id, dedup_key, kind, recipient, reach, notification, rule)
SELECT o.incident_id, m.dedup_key, o.kind, o.recipient, m.reach::jsonb,
    jsonb_set(o.notification, '{dedup_key}', to_jsonb(m.dedup_key)), o.rule
FROM outbox o CROSS JOIN unnest($2::text[], $3::text[]) m(dedup_key, reach)
WHERE o.id = $1
ON CONFLICT (dedup_key) DO NOTHING
"""


async def enqueue_last_resort(tx: Connection, item: OutboxItem, channels: Sequence[tuple[Contact, ...]]) -> None:
    """One message a channel, by each of its contacts in turn: whoever is left, all at once."""
    await tx.execute(
        _ENQUEUE_LAST_RESORT,
        item.id,
        [clean(f"{item.notification.dedup_key}:{reach[0].channel}{_LAST_RESORT}") for reach in channels],
        [to_json(reach) for reach in channels],
    )


_ITEM = "o.id, o.incident_id, o.epoch, o.attempts, o.reach::text AS reach, o.notification::text AS notification"


class SentAlready(msgspec.Struct, frozen=True):
    """By a way that does not lead through the outbox."""

    notification: Notification
    reach: tuple[Contact]
    ago: timedelta


# The incidents are held: whoever ends one sees these as sent, or its end is seen by `hold`.
_RECORD_SENT = f"""
INSERT INTO outbox AS o (incident_id, dedup_key, kind, recipient, reach, notification, rule, state, due_at, sent_at)
SELECT i.id, n ->> 'dedup_key', n ->> 'kind', n ->> 'recipient', m.reach, n, i.rule, 'sent', NULL, now() - m.ago
FROM (SELECT notification AS n, reach, ago
      FROM jsonb_to_recordset($1) m(notification jsonb, reach jsonb, ago interval)) m
CROSS JOIN LATERAL (SELECT id, rule FROM incidents WHERE id = (n ->> 'incident')::bigint FOR NO KEY UPDATE) i
ON CONFLICT (dedup_key) DO NOTHING RETURNING {_ITEM}
"""  # noqa: S608  # constants only


async def record_sent(tx: Connection, pages: Sequence[SentAlready]) -> list[OutboxItem]:
    """Those that were not recorded before, and whose incident is still there."""
    in_order = sorted(pages, key=lambda page: page.notification.incident)
    return readable(await tx.fetch(_RECORD_SENT, in_order), _item)


# Pages before everything else. Rules take turns: a storm of one rule must not hold up the first page of another.
# The queues come from the index, one step each, in the order of their bytes (see `incidents`). More are picked than
# wanted, for other replicas pick the same ones, and each is locked by its id alone: a join would be planned from how
# many rows there were when somebody last counted.
_CLAIM = f"""
WITH RECURSIVE queues AS (
    (SELECT kind COLLATE "C" AS kind, rule COLLATE "C" AS rule, (reach -> 0 ->> 'channel') COLLATE "C" AS channel
     FROM outbox WHERE due_at <= now() ORDER BY kind, rule, channel LIMIT 1)
    UNION ALL
    SELECT following.kind, following.rule, following.channel FROM queues q CROSS JOIN LATERAL (
        SELECT o.kind COLLATE "C" AS kind, o.rule COLLATE "C" AS rule,
            (o.reach -> 0 ->> 'channel') COLLATE "C" AS channel FROM outbox o
        WHERE o.due_at <= now() AND (o.kind, o.rule, o.reach -> 0 ->> 'channel') > (q.kind, q.rule, q.channel)
        ORDER BY kind, rule, channel LIMIT 1
    ) following
), picked AS (
    SELECT p.id, row_number() OVER (PARTITION BY q.kind, q.rule ORDER BY p.due_at, p.id) AS turn, q.kind, p.due_at
    FROM queues q CROSS JOIN LATERAL (
        SELECT o.id, o.due_at FROM outbox o
        WHERE o.kind = q.kind AND o.rule = q.rule AND o.reach -> 0 ->> 'channel' = q.channel AND o.due_at <= now()
            AND (o.lease_until IS NULL OR o.lease_until < now())
        ORDER BY o.due_at LIMIT 4 * $2
    ) p
    WHERE q.channel <> ALL($3::text[])
), due AS (
    SELECT free.id FROM (SELECT id FROM picked ORDER BY kind <> 'page', turn, due_at, id) p CROSS JOIN LATERAL (
        SELECT o.id FROM outbox o
        WHERE o.id = p.id AND o.due_at <= now() AND (o.lease_until IS NULL OR o.lease_until < now())
        FOR UPDATE SKIP LOCKED
    ) free LIMIT $2
), claimed AS (
    UPDATE outbox o SET lease_until = now() + $1, epoch = o.epoch + 1
    WHERE o.id = ANY(ARRAY(SELECT id FROM due)) RETURNING o.*
)
SELECT {_ITEM}, now() - o.created_at AS age, about.* FROM claimed o LEFT JOIN LATERAL (
    SELECT {briefings.COLUMNS} FROM incidents
    WHERE id = o.incident_id AND o.kind IN ('page', 'review') AND {_FOR_ITS_CHAIN} LIMIT 1
) about ON true
"""  # noqa: S608  # constants only


async def claim(
    connection: Connection, *, lease: timedelta, limit: int, passing_over: Sequence[str] = ()
) -> list[OutboxItem]:
    """Pages first, rule by rule in turn; nothing whose next channel is one of `passing_over`. One statement: it is its
    own commit."""
    rows = await connection.fetch(_CLAIM, lease, limit, list(passing_over))
    return readable(rows, lambda row: replace(_item(row), age=row["age"], about=_about(row)))


_HOLD = "SELECT FROM outbox WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE"
# After that, in a statement of its own: it sees what was committed while we waited.
_UNWANTED = f"""
SELECT id, status FROM (
    SELECT o.id, (SELECT i.status FROM incidents i WHERE i.id = o.incident_id) AS status
    FROM outbox o WHERE o.id = ANY($1::bigint[]) AND {_OF_A_CHAIN}
) page WHERE status <> 'triggered'
"""  # noqa: S608  # constants only


async def hold(tx: Connection, items: Sequence[OutboxItem]) -> dict[int, Status]:
    """Until the transaction ends. Those among them that nobody is to be paged by any more: id -> the incident's status.

    Whoever stops an incident's pages holds them too, in the same order: either it sees what is recorded here, or what
    it did is seen here."""
    numbers = [item.id for item in items]
    await tx.execute(_HOLD, numbers)
    return {row["id"]: Status(row["status"]) for row in await tx.fetch(_UNWANTED, numbers)}


_RECORDED = """
SELECT o.id FROM outbox o, unnest($1::bigint[], $2::bigint[]) s(id, epoch)
WHERE o.id = ANY($1::bigint[]) AND o.id = s.id AND o.epoch = s.epoch AND o.lease_until IS NULL
"""


async def recorded(tx: Connection, items: Sequence[OutboxItem]) -> set[int]:
    """Those of which it is written down already what became of this very try. Ask while they are held."""
    if not items:
        return set()
    rows = await tx.fetch(_RECORDED, [item.id for item in items], [item.epoch for item in items])
    return {row["id"] for row in rows}


# ANY, though the join says as much: see `_CLAIM`.
_SENT = """
UPDATE outbox o SET state = 'sent', sent_at = clock_timestamp(), due_at = NULL, lease_until = NULL,
    provider_id = s.provider_id, error = ''
FROM unnest($1::bigint[], $2::bigint[], $3::text[]) s(id, epoch, provider_id)
WHERE o.id = ANY($1::bigint[]) AND o.id = s.id AND o.epoch = s.epoch
"""


async def sent(tx: Connection, delivered: Sequence[tuple[OutboxItem, Receipt]]) -> None:
    if delivered:
        await tx.execute(
            _SENT,
            [item.id for item, _ in delivered],
            [item.epoch for item, _ in delivered],
            [clean(receipt.provider_id) for _, receipt in delivered],
        )


async def retry(tx: Connection, item: OutboxItem, *, delay: timedelta, error: str) -> None:
    await _again(tx, item, delay=delay, error=error, tries=1)


async def put_back(tx: Connection, item: OutboxItem, *, delay: timedelta, error: str) -> None:
    """Nothing was tried."""
    await _again(tx, item, delay=delay, error=error, tries=0)


async def _again(tx: Connection, item: OutboxItem, *, delay: timedelta, error: str, tries: int) -> None:
    await tx.execute(
        """UPDATE outbox SET due_at = now() + $3, lease_until = NULL, attempts = attempts + $5, error = $4
           WHERE id = $1 AND epoch = $2""",
        item.id,
        item.epoch,
        delay,
        clean(error),
        tries,
    )


async def next_contact(tx: Connection, item: OutboxItem, *, error: str) -> bool:
    """On to the following contact at once; failed where there is none. False where another replica has it now, or has
    sent it: then nothing is changed."""
    left = item.reach[1:]
    was_ours = await tx.fetchval(
        """UPDATE outbox SET attempts = 0, error = $5, lease_until = NULL,
               reach = CASE WHEN $3 THEN $4::text::jsonb ELSE reach END,
               due_at = CASE WHEN $3 THEN now() END,
               state = CASE WHEN $3 THEN 'queued' ELSE 'failed' END
           WHERE id = $1 AND epoch = $2 RETURNING true""",
        item.id,
        item.epoch,
        bool(left),
        to_json(left),
        clean(error),
    )
    return was_ours is not None


async def note_unanswered(tx: Connection, item: OutboxItem) -> None:
    """It may have arrived, if it is still ours. Before what becomes of it is recorded: that may shorten its reach."""
    await tx.execute(
        "UPDATE outbox SET unanswered = COALESCE(unanswered, reach) WHERE id = $1 AND epoch = $2", item.id, item.epoch
    )


_WITHDRAW = "UPDATE outbox SET state = 'failed', due_at = NULL, lease_until = NULL, error = 'withdrawn'"
_WITHDRAWN = "RETURNING incident_id, recipient, unanswered::text AS unanswered"
_QUEUED = f"incident_id = ANY($1::bigint[]) AND state = 'queued' AND {_OF_A_CHAIN}"
_HOLD_QUEUED = f"SELECT FROM outbox WHERE {_QUEUED} ORDER BY id FOR NO KEY UPDATE"
# After that, in a statement of its own: what we waited for may have gone to every channel meanwhile. What that ordered
# is held here, and orders nothing more. All of it is, not the unbegun alone: that condition must stay outside, and a
# sub-select would take it in.
_WITHDRAW_UNBEGUN = f"""
WITH held AS (SELECT id, lease_until FROM outbox WHERE {_QUEUED} ORDER BY id FOR NO KEY UPDATE)
{_WITHDRAW} WHERE id = ANY(ARRAY(SELECT id FROM held WHERE lease_until IS NULL)) {_WITHDRAWN}
"""  # noqa: S608  # constants only


async def stop_pages(tx: Connection, numbers: Sequence[int]) -> None:
    """Of these incidents, those that nobody has begun to send. Who sends another sees it when that is recorded
    (`hold`)."""
    await tx.execute(_HOLD_QUEUED, list(numbers))
    await _tell_of(tx, await tx.fetch(_WITHDRAW_UNBEGUN, list(numbers)))


async def withdraw(tx: Connection, item: OutboxItem) -> OutboxItem | None:
    """No further try, if it is still ours. Gives it by the way that it may have gone, where a try was not answered."""
    rows = await tx.fetch(f"{_WITHDRAW} WHERE id = $1 AND epoch = $2 {_WITHDRAWN}", item.id, item.epoch)
    await _tell_of(tx, rows)
    unanswered = rows[0]["unanswered"] if rows else None
    return None if unanswered is None else replace(item, reach=from_json(unanswered, tuple[Contact, ...]))


async def _tell_of(tx: Connection, withdrawn: Sequence[Any]) -> None:
    await timeline.append(tx, [(row["incident_id"], _withdrawn(row)) for row in withdrawn])


def _withdrawn(row: Any) -> Entry:
    though = "" if row["unanswered"] is None else "; it may have arrived: a try was not answered"
    return Entry(EntryKind.PAGE, f"page to {row['recipient']} withdrawn{though}", "escalate")


_ARRIVED = f"""
SELECT {_ITEM} FROM (
    SELECT id, incident_id, epoch, attempts, notification, state = 'sent' AS surely,
        CASE state WHEN 'sent' THEN reach ELSE unanswered END AS reach
    FROM outbox
    WHERE incident_id = ANY($1::bigint[]) AND {_OF_A_CHAIN}
        AND (state = 'sent' OR state = 'failed' AND unanswered IS NOT NULL)
) o ORDER BY surely, id
"""  # noqa: S608  # constants only


async def arrived(connection: Connection, numbers: Sequence[int]) -> list[OutboxItem]:
    """The pages of these incidents that somebody has or may have, each by the way that it went. Those that surely did
    arrive come last, in the order they were sent."""
    return readable(await connection.fetch(_ARRIVED, list(numbers)), _item) if numbers else []


def _item(row: Any) -> OutboxItem:
    return OutboxItem(
        id=row["id"],
        epoch=row["epoch"],
        attempts=row["attempts"],
        reach=from_json(row["reach"], tuple[Contact, ...]),
        notification=from_json(row["notification"], Notification),
    )


def _about(row: Any) -> Briefing | None:
    if row["rule"] is None:
        return None
    try:
        return briefings.briefing(IncidentId(row["incident_id"]), row)
    except Exception as error:  # whatever is wrong with it: a page that says less must still go out
        log.exception("what is known of an incident cannot be read", incident=row["incident_id"], error=str(error))
        return None
