"""A source that was taken out of the settings: what polls said of it holds for nobody any more."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from remediator.domain.errors import StaleFence
from remediator.engine.unpolled import Unpolled
from remediator.store import sources
from remediator.store.database import Database
from tests.engine.polling import SOURCE, Watch, told_by_webhook, watching

DOWN = {"alertname": "ServiceDown", "deployment": "backend", "namespace": "prod"}
OTHER = {"alertname": "ServiceDown", "deployment": "feed", "namespace": "prod"}
LONG_AGO = "UPDATE source_polls SET due_at = now() - interval '6 min'"


@pytest.fixture
async def watch(database: Database, tmp_path: Path) -> AsyncIterator[Watch]:
    """One alert is silenced, another one was missed in a poll; the incidents wait."""
    async with watching(database, tmp_path) as made:
        await made.webhook(told_by_webhook(**DOWN), told_by_webhook(**OTHER))
        made.peers[0].fire(silenced_by="s-1", **DOWN)
        await made.poll()
        await made.execute("UPDATE incidents SET wake_at = now() + interval '30 s'")
        yield made


async def known(watch: Watch) -> list[tuple[str, int]]:
    return sorted((episode["suppressed_by"], episode["missed_polls"]) for episode in await watch.episodes())


async def test_its_suppressions_end_and_the_fix_that_they_held_is_judged_again(watch: Watch) -> None:
    await watch.execute(LONG_AGO)

    forgotten = await Unpolled(watch.database, ()).forget_one()

    assert forgotten == SOURCE
    assert await known(watch) == [("", 0), ("", 0)]
    assert len(await watch.fetch("SELECT FROM incidents WHERE wake_at <= now() AND nudges > 0")) == 1
    assert await watch.fetch("SELECT FROM source_peers") == []
    assert (await watch.told())[-1] == (
        "nobody polls alertmanager any more, where ServiceDown was suppressed by silence s-1: "
        "whether it still is, is not known, and holds no fix"
    )


async def test_it_is_forgotten_once(watch: Watch) -> None:
    await watch.execute(LONG_AGO)

    forgotten = [await Unpolled(watch.database, ()).forget_one() for _ in range(2)]

    assert forgotten == [SOURCE, None]


@pytest.mark.parametrize(
    ("polled", "last"),
    [((SOURCE,), LONG_AGO), ((), "UPDATE source_polls SET due_at = now() - interval '4 min'")],
    ids=["we poll it, if late", "a replica with other settings polls it"],
)
async def test_what_somebody_polls_keeps_its_suppressions(watch: Watch, polled: tuple[str, ...], last: str) -> None:
    await watch.execute(last)

    assert await Unpolled(watch.database, polled).forget_one() is None
    assert await known(watch) == [("", 1), ("silence s-1", 0)]


async def test_whoever_polls_it_again_finds_the_silence_again(watch: Watch) -> None:
    await watch.execute(LONG_AGO)
    await Unpolled(watch.database, ()).forget_one()

    await watch.poll()

    assert await known(watch) == [("", 1), ("silence s-1", 0)]


async def test_a_replica_that_was_frozen_while_it_polled_changes_nothing_any_more(watch: Watch) -> None:
    await watch.execute("UPDATE source_polls SET due_at = now()")
    async with watch.database.transaction() as tx:
        frozen = await sources.claim(tx, SOURCE, every=timedelta(), lease=timedelta())
    assert frozen is not None
    await watch.execute(f"{LONG_AGO}, lease_until = now() - interval '6 min'")
    await Unpolled(watch.database, ()).forget_one()

    with pytest.raises(StaleFence):
        async with watch.database.transaction() as tx:
            await sources.hold_fence(tx, frozen)
