"""Which revision a Deployment goes back to, and when nobody can tell."""

import pytest

from remediator.actions.rollback import Rollback
from remediator.diagnostics.rollout_history import RolloutHistory
from remediator.domain.errors import RemediatorError
from remediator.domain.plan import NoPlan, Plan
from tests.actions.bench import Bench
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
