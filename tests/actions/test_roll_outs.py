"""How far a roll-out reaches and how many pods it takes down at once, as the workload's own strategy says."""

from dataclasses import replace
from typing import Any

import pytest

from remediator.actions.restart import Restart
from remediator.checks.workload_ready import WorkloadReady
from remediator.clients.kubernetes.objects import RollingUpdate, Strategy, Workload, WorkloadSpec, WorkloadStatus
from remediator.domain.ids import IntentId
from remediator.domain.plan import Call, NoPlan
from remediator.domain.target import Target
from tests.actions.bench import INTENT, Bench, incident_of
from tests.cluster.eventually import eventually
from tests.contract.objects import IMAGE
from tests.fakes.kubernetes.objects import workload

ON_DELETE = {"type": "OnDelete"}


def partition(first: int) -> dict[str, Any]:
    return {"type": "RollingUpdate", "rollingUpdate": {"partition": first}}


async def store(bench: Bench, kind: str, strategy: dict[str, Any]) -> Bench:
    """Its three pods are ready; of a DaemonSet one a node."""
    body = workload(kind, "store", image=IMAGE, replicas=3)
    body["spec"]["updateStrategy"] = strategy
    await bench.world.create(f"{kind.lower()}s", body)
    other = replace(bench, incident=incident_of(Target(kind.lower(), "store", bench.world.namespace)))
    await eventually(lambda: is_healthy(other), within=20)
    return other


async def is_healthy(bench: Bench) -> bool:
    return (await WorkloadReady().passes(bench.incident, bench.tools)).healthy


async def change_template(bench: Bench) -> None:
    path = f"/apis/apps/v1/namespaces/{bench.target.namespace}/{bench.target.kind}s/{bench.target.name}"
    labelled: Any = [{"op": "add", "path": "/spec/template/metadata/labels/version", "value": "2"}]
    call = Call("kubernetes", "PATCH", path, body=labelled, content_type="application/json-patch+json")
    await bench.writers.kubernetes.send(call, IntentId("somebody"))


async def test_a_canary_behind_its_partition_is_a_roll_out_that_is_complete(bench: Bench) -> None:
    """Taken for one that is not, no fix of such a StatefulSet was ever proven."""
    canary = await store(bench, "StatefulSet", partition(2))
    before = await canary.pods()
    plan = await canary.planned(Restart())

    await Restart().run(plan, INTENT, canary.writers)

    async def is_rolled() -> bool:
        return [await canary.is_there(pod) for pod in before] == [True, True, False] and await is_healthy(canary)

    await eventually(is_rolled, within=20)
    status = (await canary.tools.kubernetes.workload(canary.target)).status
    assert (status.updated_replicas, plan.units) == (1, 1)
    assert plan.summary.endswith("(1 of 3 pods, rolling)")


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_pods_that_go_only_when_deleted_need_not_be_of_the_newest_template(bench: Bench, kind: str) -> None:
    by_hand = await store(bench, kind, ON_DELETE)
    before = await by_hand.pods()

    await change_template(by_hand)

    await eventually(lambda: is_healthy(by_hand), within=20)
    assert [await by_hand.is_there(pod) for pod in before] == [True] * len(before)


@pytest.mark.parametrize(
    ("kind", "strategy", "why"),
    [
        ("StatefulSet", ON_DELETE, "its updateStrategy is OnDelete, so pods go when somebody deletes them"),
        ("DaemonSet", ON_DELETE, "its updateStrategy is OnDelete, so pods go when somebody deletes them"),
        ("StatefulSet", partition(3), "its partition keeps all 3 as they are"),
        ("StatefulSet", partition(9), "its partition keeps all 3 as they are"),
    ],
)
async def test_a_restart_that_would_restart_no_pod_is_none(
    bench: Bench, kind: str, strategy: dict[str, Any], why: str
) -> None:
    other = await store(bench, kind, strategy)

    plan = await Restart().plan(other.incident, other.tools)

    assert plan == NoPlan(f"no pod of {other.target} would be restarted: {why}")


@pytest.mark.parametrize(
    ("kind", "most", "pods", "units"),
    [
        pytest.param("deployment", None, 12, 3, id="a Deployment's default is a quarter"),
        pytest.param("deployment", "30%", 9, 2, id="a Deployment's share is rounded down"),
        pytest.param("deployment", "25%", 3, 1, id="to one at least"),
        pytest.param("deployment", 0, 12, 1, id="one that surges only"),
        pytest.param("deployment", 5, 12, 5, id="a Deployment's number"),
        pytest.param("deployment", 50, 12, 12, id="no more than there are"),
        pytest.param("statefulset", None, 12, 1, id="a StatefulSet's default is one"),
        pytest.param("statefulset", "30%", 9, 2, id="a StatefulSet's share is rounded down"),
        pytest.param("statefulset", 4, 9, 4, id="a StatefulSet's number"),
        pytest.param("daemonset", None, 12, 1, id="a DaemonSet's default is one"),
        pytest.param("daemonset", "30%", 9, 3, id="a DaemonSet's share is rounded up"),
        pytest.param("daemonset", "100%", 9, 9, id="a DaemonSet's whole"),
    ],
)
def test_a_roll_out_disturbs_as_many_as_may_be_unavailable(
    kind: str, most: int | str | None, pods: int, units: int
) -> None:
    """As the controllers of Kubernetes 1.36 count. One was counted, whatever was taken down at once."""
    given = Strategy("RollingUpdate", RollingUpdate(max_unavailable=most))
    is_deployment = kind == "deployment"
    spec = WorkloadSpec(pods, strategy=given) if is_deployment else WorkloadSpec(pods, update_strategy=given)
    status = WorkloadStatus(desired_number_scheduled=pods)

    assert Workload(kind=kind, spec=spec, status=status).disturbed_by_roll_out == units


def test_a_partition_bounds_what_a_roll_out_disturbs() -> None:
    given = Strategy("RollingUpdate", RollingUpdate(max_unavailable=4, partition=7))

    assert Workload(kind="statefulset", spec=WorkloadSpec(9, update_strategy=given)).disturbed_by_roll_out == 2
