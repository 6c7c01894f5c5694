"""What is read of the past is little, and judges as the whole of it would."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import product
from uuid import UUID, uuid4

import msgspec
import pytest

from remediator.domain.budget import LONGEST_WINDOW, Budget
from remediator.domain.ledger import Reservation, free_in
from remediator.store import ledger
from remediator.store.database import Connection, Database

KEYS = ("node", "node/a", "node/ab", "node/a/1h")
"""Each begins like another."""
WINDOWS = (timedelta(seconds=90), timedelta(hours=1), timedelta(days=1), LONGEST_WINDOW)


class Spent(msgspec.Struct, frozen=True):
    intent: UUID
    budget: Budget
    ago: timedelta


@pytest.mark.parametrize("seed", range(5))
async def test_what_is_read_says_when_a_budget_has_room_as_all_that_was_ever_spent_would(
    database: Database, seed: int
) -> None:
    spent = a_past(random.Random(seed))  # noqa: S311  # guards nothing
    asked = [Budget(key, at_most, within) for key, within, at_most in product(KEYS, WINDOWS, (1, 3, 10, 40))]
    async with database.transaction() as tx:
        began = await store(tx, spent)
        all_together = await ledger.snapshot(tx, asked)
        each = [await ledger.snapshot(tx, [budget]) for budget in asked]

    everything = as_counted(spent, began)
    for budget, alone in zip(asked, each, strict=True):
        for read in (alone, all_together):
            assert free_in(budget, read.reservations, read.now) == free_in(budget, everything, read.now), budget


def a_past(chance: random.Random) -> list[Spent]:
    """Writes that spent of one budget or two, in windows of their own, lately or long ago."""
    spent = []
    for _ in range(300):
        intent = uuid4()
        ago = chance.choice((*WINDOWS, 2 * LONGEST_WINDOW)) * chance.random()
        for key, within in chance.sample(list(product(KEYS, WINDOWS)), k=chance.choice((1, 2))):
            spent.append(Spent(intent, Budget(key, 1, within, units=chance.randint(1, 3)), ago))
    return spent


async def store(tx: Connection, spent: Sequence[Spent]) -> datetime:
    """Gives the moment that `ago` is counted from. Replication's role wants no intents for them."""
    await tx.execute("SET LOCAL session_replication_role = replica")
    await tx.executemany(
        "INSERT INTO reservations (key, intent_id, at, units) VALUES ($1, $2, now() - $3::interval, $4)",
        [(ledger.stored_key(one.budget), one.intent, one.ago, one.budget.units) for one in spent],
    )
    return await ledger.now(tx)


def as_counted(spent: Sequence[Spent], began: datetime) -> tuple[Reservation, ...]:
    """Once a write and key, whatever the windows."""
    counted: dict[tuple[UUID, str], Reservation] = {}
    for one in spent:
        same = one.intent, one.budget.key
        units = max(one.budget.units, counted[same].units if same in counted else 0)
        counted[same] = Reservation(one.budget.key, began - one.ago, units)
    return tuple(counted.values())
