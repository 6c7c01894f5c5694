"""Callers share commits, and none pays for another's mistake."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from remediator.domain.errors import Temporary
from remediator.engine.group_commit import GroupCommit


@dataclass
class Ledger:
    """Stands where the database is: commits when told to, and refuses what is poisonous."""

    may_commit: asyncio.Event = field(default_factory=asyncio.Event)
    batches: list[list[int]] = field(default_factory=list)
    is_down: bool = False

    async def commit(self, items: Sequence[int]) -> list[str]:
        await self.may_commit.wait()
        self.batches.append(list(items))
        if self.is_down:
            raise Temporary("gone", system="database", operation="commit")
        if any(item < 0 for item in items):
            raise ValueError("poison")
        return [f"stored {item}" for item in items]


async def test_who_comes_during_a_commit_shares_the_next_one() -> None:
    ledger = Ledger()
    group = GroupCommit(ledger.commit)

    async with asyncio.TaskGroup() as callers:
        answers = [callers.create_task(group.submit(item)) for item in range(5)]
        await asyncio.sleep(0)
        ledger.may_commit.set()

    assert [answer.result() for answer in answers] == [f"stored {item}" for item in range(5)]
    assert ledger.batches == [[0, 1, 2, 3, 4]]


async def test_a_batch_has_no_more_items_than_are_allowed() -> None:
    ledger = Ledger()
    ledger.may_commit.set()
    group = GroupCommit(ledger.commit, most=2)

    await asyncio.gather(*(group.submit(item) for item in range(5)))

    assert ledger.batches == [[0, 1], [2, 3], [4]]


async def test_one_poisonous_item_costs_nobody_else_theirs() -> None:
    ledger = Ledger()
    ledger.may_commit.set()
    group = GroupCommit(ledger.commit)

    answers = await asyncio.gather(*(group.submit(item) for item in (1, -1, 2)), return_exceptions=True)

    assert answers[::2] == ["stored 1", "stored 2"]
    assert isinstance(answers[1], ValueError)


async def test_a_database_that_is_down_is_told_to_everybody_once() -> None:
    ledger = Ledger(is_down=True)
    ledger.may_commit.set()
    group = GroupCommit(ledger.commit)

    answers = await asyncio.gather(*(group.submit(item) for item in range(3)), return_exceptions=True)

    assert [type(answer) for answer in answers] == [Temporary] * 3
    assert len(ledger.batches) == 1


async def test_a_caller_that_is_cancelled_while_it_commits_tells_the_others() -> None:
    ledger = Ledger()
    group = GroupCommit(ledger.commit)
    first = asyncio.create_task(group.submit(1))
    await asyncio.sleep(0)
    second = asyncio.create_task(group.submit(2))
    await asyncio.sleep(0)

    first.cancel()
    ledger.may_commit.set()

    with pytest.raises(asyncio.CancelledError):
        await first
    assert await second == "stored 2"


async def test_a_caller_that_is_cancelled_while_it_tries_one_by_one_tells_the_others() -> None:
    """They have left the queue: nobody else would ever commit for them."""
    one_by_one = asyncio.Event()

    async def commit(items: Sequence[int]) -> list[str]:
        if len(items) > 1:
            raise ValueError("poison")
        if items:
            one_by_one.set()
            await asyncio.Event().wait()
        return []

    group = GroupCommit(commit)
    first, *others = [asyncio.create_task(group.submit(item)) for item in range(3)]
    await one_by_one.wait()

    first.cancel()

    async with asyncio.timeout(5):
        told = await asyncio.gather(*others, return_exceptions=True)
    assert [str(error) for error in told] == ["database: commit: the commit was cut short"] * 2
