"""Whose round of clearing up it is, and how the last one went: one row in the database, so there is no leader, and all
replicas show the same."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import asyncpg

from remediator.domain.errors import Permanent
from remediator.store.connecting import in_words
from remediator.store.database import Connection

_REFUSED = (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError)
_WHAT_TO_DO = (
    "the daemon's role must own its tables and may create some in their schema, or be a member of a role that does: "
    "GRANT <owner> TO <role>"
)


class Why(StrEnum):
    REFUSED = "refused"
    """The role may not, or what is asked for is not there: so it stays until somebody changes that."""
    PUT_OFF = "put_off"
    """The database did not answer, or somebody held what is needed: a later round may do it."""
    BUG = "bug"


@dataclass(frozen=True, slots=True)
class Failure:
    why: str
    """A `Why`, or what a later release says."""
    error: str


@dataclass(frozen=True, slots=True)
class LastRound:
    ended: datetime | None
    """The last one all of whose steps came to their end; None: none ever."""
    failures: Mapping[str, Failure]
    """Of the last one that was made, by step."""


async def begin(tx: Connection, every: timedelta) -> bool:
    """Whether the round is ours: whoever finds it due takes it by moving the next one on."""
    taken = await tx.fetchval("UPDATE retention SET due_at = now() + $1 WHERE due_at <= now() RETURNING true", every)
    return bool(taken)


async def keep(tx: Connection, every: timedelta) -> None:
    """Said with every batch, so that a long round stays one replica's."""
    await tx.execute("UPDATE retention SET due_at = now() + $1", every)


async def end(tx: Connection, failures: Mapping[str, Failure]) -> None:
    await tx.execute(
        """UPDATE retention
           SET failures = $1::jsonb, ended_at = CASE WHEN $1::jsonb = '{}' THEN now() ELSE ended_at END""",
        failures,
    )


async def last(connection: Connection) -> LastRound:
    row = await connection.fetchrow("SELECT ended_at, failures FROM retention")
    if row is None:
        return LastRound(None, {})
    return LastRound(row["ended_at"], {step: Failure(**told) for step, told in row["failures"].items()})


@contextmanager
def refusals_told() -> Iterator[None]:
    """A lasting refusal is `Permanent`, with what to do. That we may not remove something casts no doubt on a database
    that takes alerts."""
    try:
        yield
    except _REFUSED as error:
        hint = f"; {_WHAT_TO_DO}" if isinstance(error, asyncpg.InsufficientPrivilegeError) else ""
        raise Permanent(in_words(error) + hint, system="database", operation="clear up") from error
