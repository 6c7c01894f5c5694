"""Many callers, few commits: whoever comes while a commit is under way shares the next one.

No task of its own: the first of those who wait commits for all of them, so it works for as long as anybody calls it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from remediator.domain.errors import Temporary

Item = TypeVar("Item")
Answer = TypeVar("Answer")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[Item, Answer]):
    item: Item
    answer: "asyncio.Future[Answer]"


class GroupCommit(Generic[Item, Answer]):
    def __init__(self, commit: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]], *, most: int = 500) -> None:
        """`commit` takes up to `most` items and gives their answers in order; all of them are committed, or none."""
        self._commit = commit
        self._most = most
        self._queue: list[_Waiting[Item, Answer]] = []
        self._turn = asyncio.Lock()

    async def submit(self, item: Item) -> Answer:
        """Returns after the commit. Raises what `commit` raised for this item."""
        waiting: _Waiting[Item, Answer] = _Waiting(item, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        while not waiting.answer.done():
            async with self._turn:
                if not waiting.answer.done():
                    await asyncio.sleep(0)  # whoever is as far as we are comes along
                    batch, self._queue = self._queue[: self._most], self._queue[self._most :]
                    try:
                        await self._settle(batch)
                    finally:
                        _cut_short(batch)
        return waiting.answer.result()

    async def _settle(self, batch: Sequence[_Waiting[Item, Answer]]) -> None:
        try:
            answers = await self._commit([waiting.item for waiting in batch])
        except Exception as error:  # each waiter is handed it; one poisonous item must not cost the others theirs
            await self._part(batch, error)
        else:
            for waiting, answer in zip(batch, answers, strict=True):
                waiting.answer.set_result(answer)

    async def _part(self, batch: Sequence[_Waiting[Item, Answer]], error: Exception) -> None:
        if len(batch) == 1 or isinstance(error, Temporary):
            _fail(batch, error)
            return
        log.exception("batch not committed, trying one by one", items=len(batch), error=str(error))
        for waiting in batch:
            await self._settle([waiting])


def _cut_short(batch: Sequence[_Waiting[Item, Answer]]) -> None:
    """Those who have no answer: who was committing for them was cancelled. Nobody else would ever tell them."""
    if not all(waiting.answer.done() for waiting in batch):
        _fail(batch, Temporary("the commit was cut short", system="database", operation="commit"))


def _fail(batch: Sequence[_Waiting[Item, Answer]], error: Exception) -> None:
    for waiting in batch:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
            waiting.answer.exception()  # a caller that was cancelled will not fetch it
