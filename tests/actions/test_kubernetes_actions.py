"""Each Kubernetes action on the fake and the real API server: rehearsed, done once, recognised, refused when stale."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from remediator.actions import Action
from remediator.actions.delete_pod import DeletePod
from remediator.actions.restart import Restart
from remediator.actions.rollback import Rollback
from remediator.actions.scale import Scale
from remediator.clients.http import open_http
from remediator.clients.kubernetes import connect_kubernetes
from remediator.domain.alert import Alert, AlertStatus
from remediator.domain.errors import RemediatorError, Temporary
from remediator.domain.ids import Fingerprint, IncidentId, IntentId, RuleName, RuleVersion, SourceName
from remediator.domain.incident import Incident, Intent, Phase, Status
from remediator.domain.mode import Mode
from remediator.domain.plan import NoPlan, Observed, Plan
from remediator.domain.target import Target
from remediator.toolbox import Toolbox, WriteToolbox
from tests.cluster.control_plane import ControlPlane
from tests.cluster.eventually import eventually
from tests.cluster.test_control_plane import deployment, is_ready
from tests.fakes.kubernetes import FakeCluster

INTENT = IntentId("6f0e2f2c-1111-4222-8333-444455556666")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass
class Bench:
    """A Deployment `backend` of three pods in its second revision, and the means to look and to write."""

    incident: Incident
    tools: Toolbox
    writers: WriteToolbox

    async def planned(self, action: Action) -> Plan:
        plan = await action.plan(self.incident, self.tools)
        assert isinstance(plan, Plan), plan
        return plan

    async def pod_names(self) -> tuple[str, ...]:
        assert self.incident.target is not None
        return tuple(pod.metadata.name for pod in await self.tools.kubernetes.pods(self.incident.target))


@pytest.fixture
async def fake_bench(fake_cluster: FakeCluster, tmp_path: Path) -> AsyncIterator[Bench]:
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.set_image("prod", "backend", image="registry.example/app:2")
    async for bench in bench_on(fake_cluster.write_kubeconfig(tmp_path / "kubeconfig"), "prod"):
        yield bench


@pytest.fixture
async def real_bench(control_plane: ControlPlane, namespace: str) -> AsyncIterator[Bench]:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    async with control_plane.api() as api:
        await api.create(path, deployment("backend", replicas=3))
        await eventually(lambda: is_ready(api, namespace, "backend", replicas=3))
        newer = {"spec": {"template": {"metadata": {"annotations": {"version": "2"}}}}}
        await api.merge(f"{path}/backend", newer)

        async def is_rolled_out() -> bool:
            status = (await api.get(f"{path}/backend"))["status"]
            counts = {status.get(name) for name in ("replicas", "updatedReplicas", "readyReplicas")}
            return status["observedGeneration"] == 2 and counts == {3}

        await eventually(is_rolled_out)
    async for bench in bench_on(control_plane.kubeconfig(), namespace):
        yield bench


@pytest.fixture(params=["fake_bench", pytest.param("real_bench", marks=pytest.mark.cluster)])
def bench(request: pytest.FixtureRequest) -> Bench:
    found: Bench = request.getfixturevalue(request.param)
    return found


async def bench_on(kubeconfig: Path, namespace: str) -> AsyncIterator[Bench]:
    connection = await connect_kubernetes(kubeconfig, None)
    async with open_http(private_networks=True) as http:
        tools = Toolbox(http, clock=lambda: NOW, kubernetes_reader=connection.reader)
        writers = WriteToolbox(tools, kubernetes_writer=connection.writer())
        yield Bench(incident_of(Target("deployment", "backend", namespace)), tools, writers)
    await connection.close()


def incident_of(target: Target) -> Incident:
    alert = Alert(SourceName("tests"), Fingerprint("f"), AlertStatus.FIRING, {"alertname": "ServiceDown"}, NOW)
    return Incident(
        id=IncidentId(1),
        rule=RuleName("service-down"),
        rule_version=RuleVersion("1"),
        title="",
        severity="sev1",
        mode=Mode.ACT,
        status=Status.TRIGGERED,
        phase=Phase.DIAGNOSED,
        alert=alert,
        target=target,
        opened_at=NOW,
        firing=True,
    )


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
