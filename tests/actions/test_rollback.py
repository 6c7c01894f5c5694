"""Which revision a Deployment goes back to, and when nobody can tell."""

from typing import Any

import pytest

from remediator.actions.restart import Restart
from remediator.actions.rollback import Rollback
from remediator.clients.kubernetes.objects import Workload, newest_first
from remediator.clients.kubernetes.writer import INTENT_ANNOTATION, marked
from remediator.diagnostics.rollout_history import RolloutHistory
from remediator.domain.errors import RemediatorError
from remediator.domain.ids import IntentId
from remediator.domain.plan import NoPlan, Plan
from tests.actions.bench import INTENT, Bench
from tests.cluster.eventually import eventually


async def test_a_roll_out_that_its_controller_has_not_seen_is_not_gone_back_from(bench: Bench) -> None:
    """The newest revision has no replica set yet: the one before the newest that has would be two revisions back."""
    with bench.world.held_controllers():
        await bench.world.set_image("registry.example/app:3")

        plan = await Rollback().plan(bench.incident, bench.tools)
        with pytest.raises(RemediatorError, match="newer roll-out has just begun"):
            await RolloutHistory().examine(bench.incident, bench.tools)

    assert isinstance(plan, NoPlan)
    assert "newer roll-out has just begun" in plan.reason


async def test_once_it_is_seen_the_revision_before_it_is_the_one_to_go_back_to(bench: Bench) -> None:
    await bench.world.set_image("registry.example/app:3")

    async def can_go_back() -> bool:
        return isinstance(await Rollback().plan(bench.incident, bench.tools), Plan)

    await eventually(can_go_back)
    assert "to revision 2" in (await bench.planned(Rollback())).summary


async def revisions(bench: Bench) -> list[Workload]:
    """Once the newest has all pods, and the Deployment no others."""

    async def is_rolled_out() -> bool:
        deployment = await bench.tools.kubernetes.workload(bench.target)
        status = deployment.status
        counts = {status.replicas, status.updated_replicas, status.ready_replicas}
        return status.observed_generation == deployment.metadata.generation and counts == {3}

    await eventually(is_rolled_out)
    return newest_first(await bench.tools.kubernetes.replica_sets(await bench.tools.kubernetes.workload(bench.target)))


async def test_going_back_to_what_was_restarted_once_brings_its_own_replica_set_back(bench: Bench) -> None:
    """With another mark in its template it is another release: new, and with the bad one as the one before it."""
    await Restart().run(await bench.planned(Restart()), IntentId("the restart"), bench.writers)
    good = (await revisions(bench))[0]
    await bench.world.set_image("registry.example/app:bad")
    bad = (await revisions(bench))[0]

    await Rollback().run(await bench.planned(Rollback()), INTENT, bench.writers)

    assert [each.metadata.uid for each in (await revisions(bench))[:2]] == [good.metadata.uid, bad.metadata.uid]


async def test_what_is_written_is_what_was_rehearsed_but_for_the_mark(bench: Bench) -> None:
    await Restart().run(await bench.planned(Restart()), IntentId("the restart"), bench.writers)
    await bench.world.set_image("registry.example/app:bad")
    await revisions(bench)
    rehearsed: Any = (await bench.planned(Rollback())).calls[0].body

    written = marked(rehearsed, INTENT)

    assert written[:-1] == rehearsed[:-1]
    assert "the restart" in str(rehearsed[:-1])
    assert rehearsed[-1]["path"].endswith(INTENT_ANNOTATION.replace("/", "~1"))
    assert written[-1] == {**rehearsed[-1], "value": INTENT}
