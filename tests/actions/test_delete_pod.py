"""Which pods are deleted, in which way, and what is left alone."""

from dataclasses import replace as changed
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from remediator.actions.delete_pod import DeletePod
from remediator.clients.kubernetes.objects import Metadata, Owner, Pod
from remediator.diagnostics.pod_status import PodStatus
from remediator.domain.plan import NoPlan, Observed, Plan
from remediator.domain.target import Target
from remediator.store.database import Database, to_json
from remediator.store.documents import from_json
from remediator.toolbox import Toolbox, WriteToolbox
from tests.actions.bench import INTENT, Bench
from tests.cluster.eventually import eventually
from tests.contract.objects import IMAGE, config_map, pod
from tests.fakes.kubernetes import FakeCluster
from tests.fakes.kubernetes.objects import workload


async def an_unready_pod_its_budget_protects(bench: Bench) -> Pod:
    """Of three pods two are unready, and the budget wants two: no eviction is granted."""
    first, second, *_ = await bench.pod_names()
    await bench.world.guard(min_available=2)
    await bench.world.break_readiness([first, second])
    return next(each for each in await bench.pods() if each.metadata.name == first)


async def test_the_rehearsal_of_a_deletion_deletes_nothing(bench: Bench) -> None:
    doomed = await an_unready_pod_its_budget_protects(bench)
    action = DeletePod(pods=(doomed.metadata.name,))
    plan = await bench.planned(action)

    answer = await action.rehearse(plan, bench.tools)

    assert [call.method for call in plan.calls] == ["DELETE"]
    assert answer.accepted, answer.detail
    assert await bench.is_there(doomed)


async def test_pods_of_others_that_wear_the_same_labels_are_left_alone(bench: Bench) -> None:
    """A canary's, of another Deployment, and one that something else controls, as a Job does."""
    own = set(await bench.pod_names())
    canary, job = await add_canary(bench), await add_controlled_pod(bench)

    plan = await DeletePod(pods=(canary, job)).plan(bench.incident, bench.tools)

    assert isinstance(plan, NoPlan)
    assert f"{canary} is no pod of deployment" in plan.reason
    assert f"{job} is no pod of deployment" in plan.reason
    assert set(await bench.pod_names()) == own


async def test_pods_of_others_that_wear_the_same_labels_are_not_counted(bench: Bench) -> None:
    await add_canary(bench)
    await add_controlled_pod(bench)

    facts: Any = (await PodStatus().examine(bench.incident, bench.tools)).facts

    assert (facts.desired, facts.ready, facts.failing) == (3, 3, 0)


async def test_the_record_of_an_evicted_pod_is_no_pod_of_the_workload(bench: Bench) -> None:
    """It stays until its garbage is collected. Counted, it failed for ever, and was deleted before the one that did."""
    record = min(await bench.pod_names())
    await bench.world.evict_for_want_of_memory(record)
    well: Any = (await PodStatus().examine(bench.incident, bench.tools)).facts
    broken = max(pod.metadata.name for pod in await bench.pods() if pod.is_ready)
    await bench.world.break_readiness([broken])

    facts: Any = (await PodStatus(grace=timedelta()).examine(bench.incident, changed_clock(bench))).facts
    plan = await bench.planned(DeletePod(pods=(record, broken)))
    nothing = await DeletePod(pods=(record,)).plan(bench.incident, bench.tools)

    assert (well.ready, well.failing, well.reasons) == (3, 0, [])
    assert (facts.ready, facts.failing_names) == (2, [broken])
    assert list(plan.pre_image) == [broken]
    assert isinstance(nothing, NoPlan)
    assert nothing.reason == f"{record} has ended: nothing runs in it"


def changed_clock(bench: Bench) -> Toolbox:
    """Of pods that are some seconds old."""
    return changed(bench.tools, clock=lambda: datetime.now(UTC) + timedelta(minutes=1))


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_a_workload_without_replica_sets_has_its_pods_itself(bench: Bench, kind: str) -> None:
    body = workload(kind, "store", image=IMAGE, replicas=1)
    target = Target(kind.lower(), "store", bench.world.namespace)
    await bench.world.create(f"{kind.lower()}s", body)

    async def has_pods() -> bool:
        return any(each.is_ready for each in await bench.tools.kubernetes.pods(target))

    await eventually(has_pods)
    for own in await bench.tools.kubernetes.pods(target):
        plan = await DeletePod(pods=(own.metadata.name,)).plan(replace(bench.incident, target=target), bench.tools)
        assert isinstance(plan, Plan), plan


async def test_the_last_ready_pod_goes_only_where_a_person_says_so(bench: Bench) -> None:
    first, second, last = await bench.pod_names()
    await bench.world.break_readiness([first, second])

    of_the_last = await bench.planned(DeletePod(pods=(last,)))
    of_all = await bench.planned(DeletePod(pods=(first, second, last), at_most=3))
    of_another = await bench.planned(DeletePod(pods=(first,)))

    reason = f"no ready pod of {bench.target} would be left without {last}"
    assert (of_the_last.needs_approval, of_all.needs_approval, of_another.needs_approval) == (reason, reason, "")
    assert of_the_last.health == (1, 3)


async def test_one_of_several_ready_pods_goes_without_asking(bench: Bench) -> None:
    first, *_ = await bench.pod_names()

    assert (await bench.planned(DeletePod(pods=(first,)))).needs_approval == ""


def aimed_at(bench: Bench, pod: str) -> Bench:
    return changed(bench, incident=replace(bench.incident, target=Target("pod", pod, bench.world.namespace)))


async def test_a_pod_is_counted_as_its_deployments(bench: Bench) -> None:
    """The pod that takes its place has another name: nothing that is counted by it would ever be counted twice."""
    first, second, _ = await bench.pod_names()
    await bench.world.break_readiness([first])

    one, another = [await aimed_at(bench, name).planned(DeletePod()) for name in (first, second)]

    assert (one.target, another.target) == (bench.target, bench.target)
    assert (list(one.pre_image), one.health) == ([first], (2, 3))
    assert one.summary == f"delete pod {first} of {bench.target}"
    assert await DeletePod().observe(one, INTENT, bench.tools) is Observed.NOT_DONE


async def test_the_last_ready_pod_is_asked_for_also_where_it_is_the_target(bench: Bench) -> None:
    first, second, last = await bench.pod_names()
    await bench.world.break_readiness([first, second])

    plan = await aimed_at(bench, last).planned(DeletePod())

    assert plan.needs_approval == f"no ready pod of {bench.target} would be left without {last}"


async def test_a_pod_of_something_that_is_no_workload_of_ours_is_counted_as_its_controllers(bench: Bench) -> None:
    """How many others are ready nobody can tell, so a ready one goes only where a person says so."""
    name = await add_controlled_pod(bench)

    async def is_ready() -> bool:
        return (await bench.tools.kubernetes.pod(bench.world.namespace, name)).is_ready

    await eventually(is_ready)
    plan = await aimed_at(bench, name).planned(DeletePod())

    assert plan.target == Target("configmap", "batch", bench.world.namespace)
    assert plan.health is None
    assert plan.needs_approval == f"{name} is ready, and nobody can tell whether {plan.target} has another"


async def test_a_pod_that_nothing_controls_is_left_alone(bench: Bench) -> None:
    await bench.world.create("pods", pod("single"))

    single = await bench.tools.kubernetes.pod(bench.world.namespace, "single")
    answer = await DeletePod().plan(aimed_at(bench, "single").incident, bench.tools)

    assert await bench.tools.kubernetes.owner_of(single) == Target("pod", "single", bench.world.namespace)
    assert answer == NoPlan("single has no controller: nothing would replace it")


@pytest.mark.parametrize(
    ("api", "kind", "target"),
    [
        ("apps/v1", "StatefulSet", "statefulset"),
        ("apps/v1", "DaemonSet", "daemonset"),
        ("batch/v1", "Job", "job.batch"),
        ("apps.kruise.io/v1beta1", "StatefulSet", "statefulset.apps.kruise.io"),
    ],
)
async def test_a_kind_of_somebody_else_is_not_taken_for_ours(
    fake_bench: Bench, api: str, kind: str, target: str
) -> None:
    owner = Owner(api_version=api, kind=kind, name="store", uid="1", controller=True)
    orphan = Pod(Metadata(name="store-0", namespace="prod", owner_references=[owner]))

    assert await fake_bench.tools.kubernetes.owner_of(orphan) == Target(target, "store", "prod")


async def test_a_pod_that_became_ready_is_not_deleted_past_its_budget(bench: Bench) -> None:
    doomed = await an_unready_pod_its_budget_protects(bench)
    action = DeletePod(pods=(doomed.metadata.name,))
    plan = await bench.planned(action)
    await bench.world.mend_readiness([doomed.metadata.name])

    outcome = await action.run(plan, INTENT, bench.writers)

    assert (outcome.done, outcome.detail) == (False, f"{doomed.metadata.name}: has become ready, it is left alone")
    assert await bench.is_there(doomed)


async def test_a_pod_that_changes_as_it_is_looked_at_is_not_deleted_past_its_budget(bench: Bench) -> None:
    """It is the server that compares: what was seen unready may be ready when the deletion arrives."""
    doomed = await an_unready_pod_its_budget_protects(bench)
    action = DeletePod(pods=(doomed.metadata.name,))
    plan = await bench.planned(action)
    await bench.world.mend_readiness([doomed.metadata.name])

    outcome = await action.run(plan, INTENT, seeing(doomed, bench.writers))

    assert not outcome.done
    assert doomed.metadata.name in outcome.detail
    assert await bench.is_there(doomed)


async def test_an_unready_pod_is_deleted_past_its_budget(bench: Bench) -> None:
    doomed = await an_unready_pod_its_budget_protects(bench)
    action = DeletePod(pods=(doomed.metadata.name,))
    plan = await bench.planned(action)

    outcome = await action.run(plan, INTENT, bench.writers)

    assert (outcome.done, outcome.detail) == (True, f"pod {doomed.metadata.name} is leaving")
    assert not await bench.is_there(doomed)


@pytest.mark.parametrize("status", [403, 409, 422])
async def test_an_eviction_that_somebody_else_refuses_is_no_reason_to_delete(
    fake_bench: Bench, fake_cluster: FakeCluster, status: int
) -> None:
    """Missing rights, or an admission webhook: only the budget's no is one that an unready pod may be deleted past."""
    doomed, *_ = await fake_bench.pod_names()
    await fake_bench.world.break_readiness([doomed])
    fake_cluster.fail_next(status, path="/eviction", message="hands off")

    plan = await DeletePod(pods=(doomed,)).plan(fake_bench.incident, fake_bench.tools)

    assert isinstance(plan, NoPlan)
    assert "hands off" in plan.reason


async def test_an_unready_pod_of_two_budgets_is_deleted(fake_bench: Bench, fake_cluster: FakeCluster) -> None:
    """The API server refuses to evict it whatever they say."""
    doomed, *_ = await fake_bench.pod_names()
    await fake_bench.world.break_readiness([doomed])
    for name in ("one", "another"):
        fake_cluster.add_budget("prod", name, app="backend", min_available=0)

    plan = await fake_bench.planned(DeletePod(pods=(doomed,)))

    assert [call.method for call in plan.calls] == ["DELETE"]


async def test_each_pod_is_told_by_its_own_name_whatever_the_journal_does_to_the_order(
    fake_bench: Bench, fake_cluster: FakeCluster, database: Database
) -> None:
    """jsonb keeps short keys first: store-9 before store-10, which the plan has the other way round."""
    fake_cluster.deploy("prod", "store", replicas=11, kind="StatefulSet")
    incident = replace(fake_bench.incident, target=Target("statefulset", "store", "prod"))
    action = DeletePod(pods=("store-9", "store-10", "store-9"), at_most=3)
    planned = await action.plan(incident, fake_bench.tools)
    assert isinstance(planned, Plan)
    fake_cluster.fail_next(403, path="store-9/eviction", message="hands off", writes_only=True)

    outcome = await action.run(await journalled(planned, database), INTENT, fake_bench.writers)

    assert outcome.detail.startswith("pod store-10 is leaving; store-9: ")
    assert "hands off" in outcome.detail


async def journalled(plan: Plan, database: Database) -> Plan:
    """As the journal gives it back."""
    async with database.connection() as connection:
        return from_json(await connection.fetchval("SELECT $1::text::jsonb::text", to_json(plan)), Plan)


def seeing(pod: Pod, writers: WriteToolbox) -> WriteToolbox:
    """Whoever looks at it sees it as it was."""

    async def as_it_was(*_: str) -> Pod:
        return pod

    look: Any = SimpleNamespace(pod=as_it_was)
    return changed(writers, look=changed(writers.look, kubernetes_reader=look))


async def add_canary(bench: Bench) -> str:
    """Its pod, ready: it wears all labels that the Deployment `backend` selects by."""
    labels = {"app": "backend", "track": "canary"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": IMAGE}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "canary"}, "spec": spec}
    await bench.world.create("deployments", body)
    target = Target("deployment", "canary", bench.world.namespace)

    async def is_ready() -> bool:
        return [each.is_ready for each in await bench.tools.kubernetes.pods(target)] == [True]

    await eventually(is_ready)
    (canary,) = await bench.tools.kubernetes.pods(target)
    return canary.metadata.name


async def add_controlled_pod(bench: Bench) -> str:
    """Any object can control a pod; this one is there on both servers."""
    owner = await bench.world.create("configmaps", config_map("batch"))
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "batch",
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    body = pod("batch-1", app="backend")
    await bench.world.create("pods", {**body, "metadata": {**body["metadata"], "ownerReferences": [reference]}})
    return "batch-1"
