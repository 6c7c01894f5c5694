"""Which pods are deleted, in which way, and what is left alone."""

from remediator.actions.delete_pod import DeletePod
from remediator.clients.kubernetes.objects import Pod
from tests.actions.bench import Bench


async def an_unready_pod_its_budget_protects(bench: Bench) -> Pod:
    """Of three pods two are unready, and the budget wants two: no eviction is granted."""
    first, second, *_ = await bench.pod_names()
    await bench.world.guard(min_available=2)
    await bench.world.break_readiness([first, second])
    return next(pod for pod in await bench.pods() if pod.metadata.name == first)


async def test_the_rehearsal_of_a_deletion_deletes_nothing(bench: Bench) -> None:
    pod = await an_unready_pod_its_budget_protects(bench)
    action = DeletePod(pods=(pod.metadata.name,))
    plan = await bench.planned(action)

    answer = await action.rehearse(plan, bench.tools)

    assert [call.method for call in plan.calls] == ["DELETE"]
    assert answer.accepted, answer.detail
    assert await bench.is_there(pod)
