"""Whether anybody still works on a step of a migration: asked beside it, on connections of their own.

A step may take hours, so nothing can be told from how long its answer takes. A network that goes silent, or a gateway
that forgets the connection, would be waited for as long as the longest step may take. To give up too early costs
little: who comes next finds the turn taken, by a server process that is at work, and waits for it.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from uuid import uuid4

import asyncpg
import structlog

from remediator.domain.errors import Temporary
from remediator.store.connecting import connect, in_words
from remediator.store.database import Connection

log = structlog.get_logger()

LONGEST_STEP = timedelta(days=7)
"""An index over years of rows takes hours. The library has no word for "without a limit" where there is one."""
GOODBYE_SECONDS = 2.0
UNSEEN = 3
"""Looks in a row that find nobody at work: between the last word of the server and our hearing it there may be one."""
_NO_ANSWER = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Lookout:
    dsn: str
    every: timedelta
    unanswered: int
    """Looks in a row that nobody answers until we give up."""

    async def send(self, connection: Connection, step: str) -> None:
        """Returns when it is done, however long that takes. Raises `Temporary` where its answer will not come."""
        mark = f"step {uuid4().hex}"
        watching = asyncio.create_task(self._hang_up_when_lost(connection, mark))
        try:
            await connection.execute(f"/* {mark} */ {step}", timeout=LONGEST_STEP.total_seconds())
        except (asyncpg.PostgresConnectionError, asyncpg.InterfaceError) as error:
            if not watching.done():
                raise
            raise Temporary(watching.result(), system="database", operation="migrate") from error
        finally:
            watching.cancel()
            await asyncio.wait([watching])

    async def _hang_up_when_lost(self, connection: Connection, mark: str) -> str:
        """What to tell. Nobody is told to cancel the step: the server may be at it, and who comes next waits for it."""
        reason = await self._until_lost(mark)
        connection.terminate()
        return reason

    async def _until_lost(self, mark: str) -> str:
        unseen = unanswered = 0
        while True:
            await asyncio.sleep(self.every.total_seconds())
            match await self._look(mark):
                case _Seen.AT_WORK:
                    unseen = unanswered = 0
                case _Seen.NOBODY:
                    unseen, unanswered = unseen + 1, 0
                case _Seen.NO_ANSWER:
                    unanswered += 1
            if unseen == UNSEEN:
                return "a step was sent, and no process of the server is at it: what it answered was lost on the way"
            if unanswered == self.unanswered:
                return (
                    "a step was sent, and the server has not answered anybody since: is the network between us silent?"
                )

    async def _look(self, mark: str) -> "_Seen":
        try:
            looker = await connect(self.dsn, statement_cache_size=0)
            try:
                is_at_work = await looker.fetchval(_IS_AT_WORK, f"%{mark}%")
            finally:
                await looker.close(timeout=GOODBYE_SECONDS)
        except _NO_ANSWER as error:
            log.warning("cannot see how a migration goes on", error=in_words(error))
            return _Seen.NO_ANSWER
        return _Seen.AT_WORK if is_at_work else _Seen.NOBODY


class _Seen(Enum):
    AT_WORK = auto()
    NOBODY = auto()
    NO_ANSWER = auto()


# Where the server does not tell what is done, somebody is taken to be at work.
_IS_AT_WORK = """
SELECT current_setting('track_activities') = 'off' OR EXISTS (
    SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE $1 AND pid <> pg_backend_pid())
"""
