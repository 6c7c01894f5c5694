"""Who has the right of way is let go first, and for so long."""

import asyncio

import pytest

from remediator.engine import right_of_way
from remediator.engine.right_of_way import RightOfWay


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> RightOfWay:
    """Whose bound nobody comes near."""
    monkeypatch.setattr(right_of_way, "MOST_SECONDS", 60)
    return RightOfWay()


async def test_nobody_waits_for_what_is_not_taken(way: RightOfWay) -> None:
    with way.taken():
        pass

    await asyncio.wait_for(way.given(), timeout=5)


async def test_it_is_given_when_it_is_no_longer_taken(way: RightOfWay) -> None:
    with way.taken():
        waiting = asyncio.create_task(way.given())
        await asyncio.sleep(0)
        assert not waiting.done()

    await asyncio.wait_for(waiting, timeout=5)


async def test_whoever_keeps_it_for_long_keeps_nobody_waiting_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(right_of_way, "MOST_SECONDS", 0.01)
    way = RightOfWay()
    with way.taken():
        await asyncio.wait_for(way.given(), timeout=5)
        await way.given()
