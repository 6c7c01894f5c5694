"""Where anything dies that goes on beside a seed's story, the seed fails at once and says of what."""

import asyncio

import pytest

from tests.faults.watched import causes, watched


async def dies() -> None:
    try:
        raise OSError("no route")
    except OSError as error:
        raise RuntimeError("a bug of ours") from error


async def lasts() -> str:
    await asyncio.Event().wait()
    return "never"


async def test_what_something_beside_the_story_died_of_is_raised_at_once() -> None:
    story, beside = asyncio.create_task(lasts()), asyncio.create_task(dies())

    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="a bug of ours"):
            await watched(story, beside)

    story.cancel()


async def test_what_was_told_to_end_beside_it_is_not_missed() -> None:
    beside: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def story() -> str:
        beside.cancel()
        await asyncio.wait({beside})
        return "the end"

    assert await watched(asyncio.create_task(story()), beside) == "the end"


async def test_each_of_a_group_is_told_with_its_place_and_its_cause() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.TaskGroup() as group:
            group.create_task(dies())

    told = causes(raised.value)

    assert told.startswith("RuntimeError: a bug of ours in dies:")
    assert ", from OSError: no route in dies:" in told
