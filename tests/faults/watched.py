"""What goes on beside a seed's story: where any of it dies, the seed fails at once, and tells of what."""

import asyncio
import traceback
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")


async def watched(story: "asyncio.Future[T]", *beside: "asyncio.Future[None]") -> T:
    """What the story comes to; or raises what one of the others died of. They may be cancelled before."""
    going_on: set[asyncio.Future[T] | asyncio.Future[None]] = {story, *beside}
    while not story.done():
        over, going_on = await asyncio.wait(going_on, return_when=asyncio.FIRST_COMPLETED)
        for one in over - {story}:
            if not one.cancelled():
                one.result()
    return story.result()


def causes(error: BaseException) -> str:
    """Of a group each, and where it was raised; of what was raised from another, that too."""
    return "; ".join(dict.fromkeys(map(_in_words, _leaves(error))))


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _leaves(one)
    else:
        yield error


def _in_words(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].name}:{frames[-1].lineno}" if frames else ""
    words = f"{type(error).__name__}: {error}{where}"
    return words if error.__cause__ is None else f"{words}, from {causes(error.__cause__)}"
