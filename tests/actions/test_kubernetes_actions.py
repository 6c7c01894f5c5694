"""Each Kubernetes action on the fake and the real API server: rehearsed, done once, recognised, refused when stale."""

from dataclasses import replace
from typing import Any

import pytest

from remediator.actions import Action
from remediator.actions.delete_pod import DeletePod
from remediator.actions.restart import RESTARTED_AT, Restart
from remediator.actions.rollback import Rollback
from remediator.actions.scale import Scale
from remediator.domain.errors import RemediatorError, Temporary
from remediator.domain.ids import IncidentId, IntentId
from remediator.domain.incident import Intent
from remediator.domain.plan import NoPlan, Observed, Plan
from remediator.domain.target import Target
from tests.actions.bench import INTENT, Bench, incident_of
from tests.cluster.eventually import eventually
from tests.fakes.kubernetes import FakeCluster
from tests.fakes.kubernetes.objects import workload


async def action_named(name: str, bench: Bench) -> Action:
    match name:
        case "delete_pod":
            return DeletePod(pods=(await bench.pod_names())[:1])
        case "restart":
            return Restart()
        case "rollback":
            return Rollback()
        case _:
            return Scale(by=1)


NAMES = ["delete_pod", "restart", "rollback", "scale"]


@pytest.mark.parametrize("name", NAMES)
async def test_a_rehearsal_is_accepted_and_changes_nothing(name: str, bench: Bench) -> None:
    action = await action_named(name, bench)
    plan = await bench.planned(action)

    answer = await action.rehearse(plan, bench.tools)

    assert answer.accepted, answer.detail
    assert await action.observe(plan, INTENT, bench.tools) is Observed.NOT_DONE


@pytest.mark.parametrize("name", NAMES)
async def test_it_is_done_and_then_recognised(name: str, bench: Bench) -> None:
    action = await action_named(name, bench)
    plan = await bench.planned(action)

    outcome = await action.run(plan, INTENT, bench.writers)

    assert outcome.done, outcome.detail
    assert await action.observe(plan, INTENT, bench.tools) is Observed.DONE


@pytest.mark.parametrize("name", ["restart", "rollback", "scale"])
async def test_a_plan_made_before_somebody_elses_change_is_refused(name: str, bench: Bench) -> None:
    action = await action_named(name, bench)
    stale = await bench.planned(action)
    somebody = Scale(to=4)
    await somebody.run(await bench.planned(somebody), IntentId("another"), bench.writers)

    with pytest.raises(RemediatorError):
        await action.run(stale, INTENT, bench.writers)


@pytest.mark.parametrize("name", ["restart", "rollback"])
async def test_what_is_approved_is_the_same_plan_when_an_autoscaler_has_been_at_work(name: str, bench: Bench) -> None:
    """And the write is of the plan made after that: it demands the generation that this one has seen."""
    action = await action_named(name, bench)
    approved = await bench.planned(action)
    autoscaler = Scale(to=4)
    await autoscaler.run(await bench.planned(autoscaler), IntentId("another"), bench.writers)
    await eventually(lambda: is_planned(action, bench))

    anew = await bench.planned(action)
    outcome = await action.run(anew, INTENT, bench.writers)

    assert anew.digest == approved.digest
    assert anew.precondition != approved.precondition
    assert outcome.done


@pytest.mark.parametrize("name", ["restart", "rollback"])
async def test_what_is_approved_is_another_plan_once_another_release_is_out(name: str, bench: Bench) -> None:
    action = await action_named(name, bench)
    approved = await bench.planned(action)
    await bench.world.set_image("registry.example/app:3")
    await eventually(lambda: is_planned(action, bench))

    assert (await bench.planned(action)).digest != approved.digest


async def is_planned(action: Action, bench: Bench) -> bool:
    return isinstance(await action.plan(bench.incident, bench.tools), Plan)


async def test_a_roll_out_that_was_planned_by_the_release_before_is_known_as_not_done(bench: Bench) -> None:
    """Its plan has the generation in its pre-image, where an approval counted it."""
    plan = await bench.planned(Restart())
    metadata = (await bench.tools.kubernetes.workload(bench.target)).metadata
    before = {"uid": metadata.uid, "generation": metadata.generation}
    old = replace(plan, calls=(replace(plan.calls[0], as_of={}),), pre_image=before)

    assert await Restart().observe(old, INTENT, bench.tools) is Observed.NOT_DONE
    await bench.world.set_image("registry.example/app:3")
    assert await Restart().observe(old, INTENT, bench.tools) is Observed.UNKNOWN


async def test_each_restart_of_an_incident_is_a_new_roll_out(bench: Bench) -> None:
    """The time that kubectl's annotation tells is the incident's; the mark is each write's own."""
    for intent in ("one", "another"):
        before = await bench.tools.kubernetes.workload(bench.target)

        await Restart().run(await bench.planned(Restart()), IntentId(intent), bench.writers)

        after = await bench.tools.kubernetes.workload(bench.target)
        assert after.metadata.generation == before.metadata.generation + 1
        assert after.spec.template.metadata.annotations[RESTARTED_AT] == "2026-03-01T12:00:00+00:00"


async def test_a_pod_of_another_uid_is_left_alone(bench: Bench) -> None:
    action = await action_named("delete_pod", bench)
    plan = await bench.planned(action)
    body = {**plan.calls[0].body, "deleteOptions": {"preconditions": {"uid": "another"}}}  # type: ignore[dict-item]
    stale = replace(plan, calls=(replace(plan.calls[0], body=body),))

    outcome = await action.run(stale, INTENT, bench.writers)

    assert not outcome.done
    assert await action.observe(plan, INTENT, bench.tools) is Observed.NOT_DONE


async def test_a_scaled_deployment_goes_back_only_from_where_it_was_left(bench: Bench) -> None:
    action = Scale(by=2)
    plan = await bench.planned(action)
    await action.run(plan, INTENT, bench.writers)
    inverse = action.undo(Intent(INTENT, IncidentId(1), "fix[0]", plan))
    assert isinstance(inverse, Plan)

    await action.run(inverse, INTENT, bench.writers)
    assert await action.observe(inverse, INTENT, bench.tools) is Observed.DONE
    with pytest.raises(RemediatorError):
        await action.run(inverse, INTENT, bench.writers)


@pytest.mark.parametrize(
    ("leased", "seen"),
    [
        pytest.param("45m", Observed.NOT_DONE, id="for a while: what a person did is not taken back"),
        pytest.param(None, Observed.DONE, id="for good: it is as it was to be"),
    ],
)
async def test_what_a_person_scaled_to_the_same_number_is_theirs(
    bench: Bench, leased: str | None, seen: Observed
) -> None:
    """We had journalled it, and were gone before we sent it."""
    action = Scale.model_validate({"by": 2, "undo_after": leased})
    ours = await bench.planned(action)
    somebody = Scale(by=2)
    await somebody.run(await bench.planned(somebody), IntentId("another"), bench.writers)

    assert await action.observe(ours, INTENT, bench.tools) is seen


async def test_what_was_scaled_for_a_while_is_ours_though_a_person_asks_for_the_same_then(bench: Bench) -> None:
    action = Scale.model_validate({"by": 2, "undo_after": "45m"})
    ours = await bench.planned(action)
    await action.run(ours, INTENT, bench.writers)
    replicas = (await bench.tools.kubernetes.workload(bench.target)).spec.replicas
    again: Any = [{"op": "replace", "path": "/spec/replicas", "value": replicas}]
    await bench.writers.kubernetes.send(replace(ours.calls[0], body=again), IntentId("another"))

    assert await action.observe(ours, INTENT, bench.tools) is Observed.DONE


async def test_what_somebody_has_scaled_to_none_stays_so(bench: Bench) -> None:
    none: Any = [{"op": "replace", "path": "/spec/replicas", "value": 0}]
    by_one = await bench.planned(Scale(by=1))
    await bench.writers.kubernetes.send(replace(by_one.calls[0], body=none), IntentId("another"))

    answer = await Scale(to=3).plan(bench.incident, bench.tools)

    assert isinstance(answer, NoPlan)
    assert "switched it off" in answer.reason


async def test_a_pod_nobody_named_and_a_pod_of_somebody_else_are_not_deleted(bench: Bench) -> None:
    nothing = await DeletePod().plan(bench.incident, bench.tools)
    foreign = await DeletePod(pods=("frontend-1",)).plan(bench.incident, bench.tools)

    assert isinstance(nothing, NoPlan)
    assert isinstance(foreign, NoPlan)
    assert "no pod of deployment" in foreign.reason


async def test_a_rehearsal_without_an_answer_is_no_refusal(fake_bench: Bench, fake_cluster: FakeCluster) -> None:
    """Taken for one, a failing pod would be deleted past the disruption budget that was to be asked."""
    fake_cluster.break_pods("prod", "backend")
    action = await action_named("delete_pod", fake_bench)
    fake_cluster.fail_next(500, path="/eviction", message="etcdserver: request timed out")

    with pytest.raises(Temporary, match="etcdserver: request timed out"):
        await action.plan(fake_bench.incident, fake_bench.tools)


@pytest.mark.parametrize(
    ("name", "strategy", "replicas", "units", "how"),
    [
        ("restart", "RollingUpdate", 3, 1, "(3 pods, rolling)"),
        ("restart", "RollingUpdate", 12, 3, "(12 pods, rolling, 3 at once)"),
        ("restart", "Recreate", 3, 3, "(3 pods, all at once)"),
        ("restart", "Recreate", 0, 1, "(0 pods, all at once)"),
        ("rollback", "RollingUpdate", 3, 1, "(registry.example/app:1)"),
        ("rollback", "RollingUpdate", 12, 3, "(registry.example/app:1), 3 pods at once"),
        ("rollback", "Recreate", 3, 3, "(registry.example/app:1), 3 pods all at once"),
    ],
)
async def test_a_roll_out_disturbs_as_many_pods_as_its_strategy_takes_down(
    fake_bench: Bench, fake_cluster: FakeCluster, name: str, strategy: str, replicas: int, units: int, how: str
) -> None:
    """Counted as one, it would pass each blast radius while it takes the whole service down."""
    body = workload("Deployment", "batch", image="registry.example/app:1", replicas=replicas)
    body["spec"]["strategy"] = {"type": strategy}
    fake_cluster.create("prod", body)
    fake_cluster.set_image("prod", "batch", image="registry.example/app:2")
    bench = replace(fake_bench, incident=incident_of(Target("deployment", "batch", "prod")))

    plan = await bench.planned(await action_named(name, bench))

    assert plan.units == units
    assert plan.summary.endswith(how)


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
async def test_what_knows_no_recreation_is_restarted_pod_by_pod(
    fake_bench: Bench, fake_cluster: FakeCluster, kind: str
) -> None:
    """These have an `updateStrategy`, and none that takes all pods at once."""
    fake_cluster.deploy("prod", "other", kind=kind)
    bench = replace(fake_bench, incident=incident_of(Target(kind.lower(), "other", "prod")))

    plan = await bench.planned(Restart())

    assert plan.units == 1
    assert plan.summary.endswith("pods, rolling)")
