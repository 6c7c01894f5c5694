"""What the metrics tell of the state that the replicas share, in one statement."""

from datetime import timedelta

import msgspec

from remediator.store.database import Connection


class Figures(msgspec.Struct, frozen=True):
    triggered: int
    acknowledged: int
    oldest_unsent_page: timedelta
    """Since it was ordered; nothing where none waits."""
    kill_switch: bool


# Of incidents and messages, the open ones and the queued ones alone are in these indexes.
_READ = """
SELECT i.triggered, i.acknowledged, COALESCE(o.age, interval '0') AS oldest_unsent_page,
    COALESCE((SELECT bool_or(is_on) FROM kill_switch), false) AS kill_switch
FROM (
    SELECT count(*) FILTER (WHERE status = 'triggered') AS triggered,
        count(*) FILTER (WHERE status = 'acknowledged') AS acknowledged
    FROM incidents WHERE status <> 'resolved'
) i, (
    SELECT now() - min(created_at) AS age FROM outbox WHERE kind = 'page' AND due_at IS NOT NULL
) o
"""


async def read(connection: Connection) -> Figures:
    row = await connection.fetchrow(_READ)
    return msgspec.convert(dict(row or {}), Figures)
