"""A worker on a database, whose writes succeed, and what is looked for while it is at work."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from remediator.domain.incident import Incident
from remediator.domain.mode import Mode
from remediator.domain.oncall import Contact, Person, Roster
from remediator.engine.bell import Bell
from remediator.engine.clock import DatabaseClock
from remediator.engine.desk import Desk
from remediator.engine.journal import Journal
from remediator.engine.links import Links
from remediator.engine.pages import PageWriter
from remediator.engine.worker import Pace, Worker
from remediator.metrics import Metrics
from remediator.store.database import Database
from tests.store.facts import LEASE

NOBODY: Any = None
NOT_REACHED: Any = object()
"""Only whether it is there is asked."""


def always(rule: Any) -> Callable[[Incident], Awaitable[Any]]:
    """For `Desk.read_rule`."""

    async def read(_: Incident) -> Any:
        return rule

    return read


class AnyRule:
    guards = ()
    roster = Roster(
        {
            "alice": Person("alice", "Alice", (Contact("console", ""),)),
            "bob": Person("bob", "Bob", (Contact("console", ""), Contact("email", "b@example.invalid"))),
        },
        {},
        frozenset({"console", "email"}),
    )

    def version(self, _: str) -> object:
        return object()


@asynccontextmanager
async def at_work(database: Database, *, lease: timedelta = LEASE) -> AsyncIterator[None]:
    """A worker on that database; its writes succeed."""
    rules: Any = AnyRule
    clock, journal, bell = DatabaseClock(), Journal(database, rules, Mode.ACT), Bell()
    desk = Desk(
        tools=NOBODY,
        clock=clock,
        read_rule=journal.rule,
        read_ledger=journal.ledger,
        read_intent=journal.intent,
        read_stand_in=journal.stand_in,
        global_guards=lambda: (),
        recheck=timedelta(seconds=15),
        writers=NOT_REACHED,
    )
    made = Worker(
        database,
        rules,
        desk,
        PageWriter("https://remediator.example.invalid", Links(b"secret", clock)),
        pace=Pace("tests", 4, lease, timedelta(milliseconds=50)),
        clock=clock,
        bells=(bell, Bell()),
        metrics=Metrics(),
    )
    running = asyncio.create_task(made.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def tells(database: Database, what: str) -> bool:
    async with database.connection() as connection:
        return bool(
            await connection.fetchval("SELECT EXISTS (SELECT FROM timeline WHERE message LIKE $1)", f"%{what}%")
        )


async def is_resolved(database: Database) -> bool:
    async with database.connection() as connection:
        return bool(await connection.fetchval("SELECT bool_and(status = 'resolved') FROM incidents"))
