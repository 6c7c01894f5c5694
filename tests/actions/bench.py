"""A workload on the fake and on the real API server, and what befalls it, for tests of actions and looks."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from remediator.actions import Action
from remediator.clients.http import open_http
from remediator.clients.kubernetes import connect_kubernetes
from remediator.clients.kubernetes.objects import Pod
from remediator.domain.alert import Alert, AlertStatus
from remediator.domain.ids import Fingerprint, IncidentId, IntentId, RuleName, RuleVersion, SourceName
from remediator.domain.incident import Incident, Phase, Status
from remediator.domain.mode import Mode
from remediator.domain.plan import Plan
from remediator.domain.target import Target
from remediator.toolbox import Toolbox, WriteToolbox
from tests.cluster.api import Api
from tests.cluster.control_plane import ControlPlane
from tests.cluster.eventually import eventually
from tests.cluster.kubelet import BEHAVIOUR, Behaviour
from tests.fakes.kubernetes import FakeCluster, Fault

INTENT = IntentId("6f0e2f2c-1111-4222-8333-444455556666")
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class World(ABC):
    """What befalls the pods, on either server; it has taken effect when a call returns."""

    namespace: str

    @abstractmethod
    async def break_readiness(self, pods: Sequence[str]) -> None: ...

    @abstractmethod
    async def mend_readiness(self, pods: Sequence[str]) -> None: ...

    @abstractmethod
    async def evict_for_want_of_memory(self, pod: str) -> None:
        """As the node does itself: the pod's record stays, and another takes its place."""

    @abstractmethod
    async def guard(self, *, min_available: int) -> None:
        """A disruption budget over the workload's pods, and counted."""

    @abstractmethod
    async def create(self, plural: str, body: dict[str, Any]) -> dict[str, Any]: ...

    @abstractmethod
    async def set_image(self, image: str) -> None: ...

    @abstractmethod
    async def set_broken_image(self, image: str) -> None:
        """None of its pods ever becomes ready."""

    @abstractmethod
    def held_controllers(self) -> AbstractContextManager[None]:
        """What is written meanwhile is seen by no controller."""


@dataclass
class FakeWorld(World):
    cluster: FakeCluster
    namespace: str

    async def break_readiness(self, pods: Sequence[str]) -> None:
        self.cluster.break_named(self.namespace, pods, reason=Fault.NOT_READY)

    async def mend_readiness(self, pods: Sequence[str]) -> None:
        self.cluster.heal_named(self.namespace, pods)

    async def evict_for_want_of_memory(self, pod: str) -> None:
        self.cluster.break_named(self.namespace, [pod], reason=Fault.EVICTED)

    async def guard(self, *, min_available: int) -> None:
        self.cluster.add_budget(self.namespace, "guard", app="backend", min_available=min_available)

    async def create(self, plural: str, body: dict[str, Any]) -> dict[str, Any]:
        return self.cluster.create(self.namespace, body)

    async def set_image(self, image: str) -> None:
        self.cluster.set_image(self.namespace, "backend", image=image)

    async def set_broken_image(self, image: str) -> None:
        self.cluster.break_image(image, reason=Fault.NOT_READY)
        await self.set_image(image)

    @contextlib.contextmanager
    def held_controllers(self) -> Iterator[None]:
        self.cluster.hold_rollouts()
        yield
        self.cluster.tick()


@dataclass
class RealWorld(World):
    plane: ControlPlane
    api: Api
    namespace: str

    async def break_readiness(self, pods: Sequence[str]) -> None:
        await self._behave(pods, Behaviour.UNREADY)

    async def mend_readiness(self, pods: Sequence[str]) -> None:
        await self._behave(pods, Behaviour.READY)

    async def _behave(self, pods: Sequence[str], behaviour: Behaviour) -> None:
        for pod in pods:
            await self.api.merge(self._path("pods", pod), {"metadata": {"annotations": {BEHAVIOUR: behaviour}}})
        wanted = "True" if behaviour is Behaviour.READY else "False"

        async def is_seen() -> bool:
            found = [await self.api.get(self._path("pods", pod)) for pod in pods]
            ready = [c["status"] for pod in found for c in pod["status"].get("conditions", ()) if c["type"] == "Ready"]
            return ready == [wanted] * len(pods) and await self._are_budgets_counted()

        await eventually(is_seen)

    async def evict_for_want_of_memory(self, pod: str) -> None:
        await self.api.merge(self._path("pods", pod), {"metadata": {"annotations": {BEHAVIOUR: Behaviour.EVICTED}}})

        async def is_replaced() -> bool:
            ended = (await self.api.get(self._path("pods", pod)))["status"]["phase"] == "Failed"
            status = (await self.api.get(self._path("deployments", "backend")))["status"]
            pods = (await self.api.get(self._path("pods"), labelSelector="app=backend"))["items"]
            return ended and len(pods) == 4 and status.get("readyReplicas") == 3

        await eventually(is_replaced)

    async def guard(self, *, min_available: int) -> None:
        spec = {"minAvailable": min_available, "selector": {"matchLabels": {"app": "backend"}}}
        body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "guard"}, "spec": spec}
        await self.create("poddisruptionbudgets", body)
        await eventually(self._are_budgets_counted)

    async def _are_budgets_counted(self) -> bool:
        pods = (await self.api.get(self._path("pods"), labelSelector="app=backend"))["items"]
        ready = sum(
            (c["type"], c["status"]) == ("Ready", "True") for p in pods for c in p["status"].get("conditions", ())
        )
        budgets = (await self.api.get(self._path("poddisruptionbudgets")))["items"]
        return all(budget.get("status", {}).get("currentHealthy") == ready for budget in budgets)

    async def create(self, plural: str, body: dict[str, Any]) -> dict[str, Any]:
        created: dict[str, Any] = await self.api.create(self._path(plural), body)
        return created

    async def set_image(self, image: str) -> None:
        await self._set_template(image, {BEHAVIOUR: None})

    async def set_broken_image(self, image: str) -> None:
        await self._set_template(image, {BEHAVIOUR: Behaviour.UNREADY})

    async def _set_template(self, image: str, annotations: dict[str, Behaviour | None]) -> None:
        template = {
            "metadata": {"annotations": annotations},
            "spec": {"containers": [{"name": "app", "image": image}]},
        }
        await self.api.merge(self._path("deployments", "backend"), {"spec": {"template": template}})

    def held_controllers(self) -> AbstractContextManager[None]:
        return self.plane.held_controllers()

    def _path(self, plural: str, *rest: str) -> str:
        group = {
            "pods": "api/v1",
            "configmaps": "api/v1",
            "events": "api/v1",
            "poddisruptionbudgets": "apis/policy/v1",
        }.get(plural, "apis/apps/v1")
        return "/".join(("", group, "namespaces", self.namespace, plural, *rest))


@dataclass
class Bench:
    """A Deployment `backend` of three pods in its second revision, and the means to look and to write."""

    incident: Incident
    tools: Toolbox
    writers: WriteToolbox
    world: World

    async def planned(self, action: Action) -> Plan:
        plan = await action.plan(self.incident, self.tools)
        assert isinstance(plan, Plan), plan
        return plan

    @property
    def target(self) -> Target:
        assert self.incident.target is not None
        return self.incident.target

    async def pods(self) -> list[Pod]:
        return await self.tools.kubernetes.pods(self.target)

    async def pod_names(self) -> tuple[str, ...]:
        return tuple(pod.metadata.name for pod in await self.pods())

    async def is_there(self, pod: Pod) -> bool:
        """The very same one, and staying."""
        found = {each.metadata.name: each for each in await self.pods()}.get(pod.metadata.name)
        return found is not None and found.metadata.uid == pod.metadata.uid and not found.metadata.deletion_timestamp


@contextlib.asynccontextmanager
async def bench_on(kubeconfig: Path, namespace: str, world: World) -> AsyncIterator[Bench]:
    connection = await connect_kubernetes(kubeconfig, None)
    async with open_http(private_networks=True) as http:
        tools = Toolbox(http, clock=lambda: NOW, kubernetes_reader=connection.reader)
        writers = WriteToolbox(tools, kubernetes_writer=connection.writer())
        yield Bench(incident_of(Target("deployment", "backend", namespace)), tools, writers, world)
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
