"""The cluster as tests and the demo hold it: serve it, put things in it, break and heal them, see what was asked."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import yaml

from tests.fakes.serving import serving

from . import objects
from .access import Denial
from .admission import prepare_create
from .faults import Fault, Faults
from .kubelet import event_about
from .refusals import Refused
from .requests import Address, Fitting, Options, Recording
from .resources import (
    DEPLOYMENTS,
    EVENTS,
    NAMESPACES,
    NODES,
    PODS,
    Object,
    resource_of_kind,
)
from .server import Server
from .store import Clock, Store
from .usage import Logs, Usage

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


def _wall_clock() -> datetime:
    return datetime.now(UTC)


class FakeCluster:
    """Everything takes effect at once; what the real cluster does over minutes is done when a call returns."""

    def __init__(self, *, clock: Clock = _wall_clock, nodes: Sequence[str] = ("node-1", "node-2", "node-3")) -> None:
        self.url = ""
        self._store = Store(clock)
        self._faults = Faults()
        self._server = Server(self._store, self._faults)
        for name in ("default", "kube-system"):
            self.add_namespace(name)
        for name in nodes:
            self._store.create(NODES, objects.node(name, self._store.now()))

    @classmethod
    @asynccontextmanager
    async def serve(
        cls, *, clock: Clock = _wall_clock, nodes: Sequence[str] = ("node-1", "node-2", "node-3"), port: int = 0
    ) -> AsyncIterator[Self]:
        cluster = cls(clock=clock, nodes=nodes)
        async with serving(cluster._server.app(), port=port) as url:
            cluster.url = url
            yield cluster

    # What is in it

    def add_namespace(self, name: str) -> None:
        if self._store.find(NAMESPACES, "", name) is None:
            self._store.create(NAMESPACES, prepare_create(NAMESPACES, objects.namespace(name), ""))

    def deploy(
        self,
        namespace: str,
        name: str,
        *,
        image: str = "registry.example/app:1",
        replicas: int = 3,
        kind: str = "Deployment",
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
        memory_limit: str = "256Mi",
    ) -> Object:
        """Creates the workload, and its namespace where that is missing; its pods carry the label `app`."""
        self.add_namespace(namespace)
        body = objects.workload(
            kind,
            name,
            image=image,
            replicas=replicas,
            labels=labels,
            annotations=annotations,
            memory_limit=memory_limit,
        )
        return self.create(namespace, body)

    def add_budget(self, namespace: str, name: str, *, app: str, min_available: int | str) -> Object:
        return self.create(namespace, objects.budget(name, app=app, min_available=min_available))

    def create(self, namespace: str, body: Object) -> Object:
        """Any object, as if it had been posted."""
        resource = resource_of_kind(body["kind"])
        at = Address(resource, namespace if resource.is_namespaced else "")
        _, created = self._server.api.create(at, body, Options())
        return self.get(resource.kind, at.namespace, name=created["metadata"]["name"])

    def delete(self, kind: str, namespace: str, *, name: str) -> None:
        self._server.api.delete(Address(resource_of_kind(kind), namespace, name), None, Options())

    def get(self, kind: str, namespace: str, *, name: str) -> Object:
        return self._store.get(resource_of_kind(kind), namespace, name)

    def all(self, kind: str, namespace: str = "") -> list[Object]:
        return self._store.all(resource_of_kind(kind), namespace)

    def deployment(self, namespace: str, name: str) -> Object:
        return self.get("Deployment", namespace, name=name)

    def pods(self, namespace: str, workload: str) -> list[Object]:
        return [
            p for p in self._store.all(PODS, namespace) if self._server.controllers.kubelet.workload_of(p) == workload
        ]

    def set_image(self, namespace: str, name: str, *, image: str) -> None:
        """A new revision, rolled out as far as its pods become ready."""
        deployment = self._store.get(DEPLOYMENTS, namespace, name)
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = image
        self._store.update(DEPLOYMENTS, deployment)
        self.settle()

    def scale(self, namespace: str, name: str, *, replicas: int) -> None:
        deployment = self._store.get(DEPLOYMENTS, namespace, name)
        deployment["spec"]["replicas"] = replicas
        self._store.update(DEPLOYMENTS, deployment)
        self.settle()

    # What goes wrong

    def break_pods(self, namespace: str, workload: str, *, reason: str = Fault.CRASHING) -> None:
        """Every pod of the workload, and every one that replaces it, until `heal`."""
        self._faults.workloads[namespace, workload] = Fault(reason)
        self.settle()

    def break_image(self, image: str, *, reason: str = Fault.CRASHING) -> None:
        """Every pod that runs this image, so that a rollback to another one helps."""
        self._faults.images[image] = Fault(reason)
        self.settle()

    def break_until_restarted(
        self, namespace: str, workload: str, *, reason: str = Fault.OUT_OF_MEMORY, pods: int | None = None
    ) -> list[str]:
        """The pods there are now (or the first so many of them); what replaces them is healthy. Gives their names."""
        broken = self.pods(namespace, workload)[:pods]
        for pod in broken:
            self._faults.pods[pod["metadata"]["uid"]] = Fault(reason)
        self.settle()
        return [pod["metadata"]["name"] for pod in broken]

    def break_named(self, namespace: str, names: Sequence[str], *, reason: str = Fault.NOT_READY) -> None:
        """These pods alone; what replaces them is healthy."""
        for name in names:
            self._faults.pods[self.get("Pod", namespace, name=name)["metadata"]["uid"]] = Fault(reason)
        self.settle()

    def heal_named(self, namespace: str, names: Sequence[str]) -> None:
        for name in names:
            self._faults.pods.pop(self.get("Pod", namespace, name=name)["metadata"]["uid"], None)
        self.settle()

    def heal(self, namespace: str, workload: str) -> None:
        self._faults.workloads.pop((namespace, workload), None)
        for pod in self.pods(namespace, workload):
            self._faults.pods.pop(pod["metadata"]["uid"], None)
            for container in pod["spec"]["containers"]:
                self._faults.images.pop(container["image"], None)
        self.settle()

    def hold_budgets(self) -> None:
        """The disruption controller falls behind, until the next `tick`."""
        self._server.controllers.budgets.are_held = True

    def hold_rollouts(self) -> None:
        """The deployment controller falls behind, until the next `tick`."""
        self._server.controllers.rollouts.are_held = True

    def deny(self, verb: str, resource: str, *, namespace: str | None = None) -> None:
        """403 from now on; `resource` is a plural with its subresource, as RBAC has it: `pods/eviction`."""
        self._server.access.denials.append(Denial(verb, resource, namespace))

    def fail_next(
        self,
        status: int,
        *,
        reason: str | None = None,
        message: str = "the fake was told to fail",
        method: str | None = None,
        path: str = "",
        times: int = 1,
        retry_after: int | None = None,
        writes_only: bool = False,
    ) -> None:
        """`path` is any part of the path; only requests that fit count against `times`. `writes_only`: rehearsals are
        answered."""
        why = reason if reason is not None else _REASONS.get(status, "")
        refused = Refused(status, message, reason=why, retry_after=retry_after)
        self._server.script.answers.append((Fitting(method, path, times, writes_only), refused))

    def hang_up_next(self, *, method: str | None = None, path: str = "", times: int = 1, hides: int = 0) -> None:
        """Carries the write out, and cuts the connection instead of answering. Rehearsals are answered. `hides`: the
        next so many looks at what became of it are refused."""
        self._server.script.hang_ups.append(Fitting(method, path, times, writes_only=True, hides=hides))

    def compact(self) -> None:
        """Forgets the past: watches and pages from before it are answered with 410."""
        self._store.compact()

    # What it says of itself

    def set_logs(self, namespace: str, name: str, *, text: str, previous: str = "") -> None:
        """For a pod, or for all pods of a workload."""
        self._server.observations.logs[namespace, name] = Logs(text, previous)

    def set_usage(self, namespace: str, name: str, *, cpu: str = "10m", memory: str = "32Mi") -> None:
        """For each container of a pod or of all pods of a workload; for a node under the namespace ""."""
        self._server.observations.usage[namespace, name] = Usage(cpu, memory)

    def hide_usage(self, namespace: str, pod: str) -> None:
        """As of a pod that metrics-server has not seen yet."""
        self._server.observations.unmeasured.add((namespace, pod))

    def set_metrics_installed(self, *, installed: bool) -> None:
        self._server.observations.has_metrics = installed

    def add_event(
        self,
        namespace: str,
        kind: str,
        *,
        name: str,
        reason: str,
        message: str = "",
        type: str = "Warning",  # noqa: A002
    ) -> Object:
        about = self.get(kind, namespace, name=name)
        event_name = f"{name}.{self._store.version:x}"
        now = self._store.now()
        event = event_about(about, name=event_name, reason=reason, message=message, type=type, now=now)
        return self._store.create(EVENTS, event)

    # How time passes, and what was asked

    def settle(self) -> None:
        self._server.controllers.settle()

    def tick(self) -> None:
        """What time would bring: another crash of what crashes, deadlines, controllers that catch up."""
        self._server.controllers.budgets.are_held = False
        self._server.controllers.rollouts.are_held = False
        self._server.controllers.tick()

    @property
    def requests(self) -> Recording:
        return self._server.recording

    def kubeconfig(self) -> Object:
        return objects.kubeconfig(self.url)

    def write_kubeconfig(self, path: Path) -> Path:
        path.write_text(yaml.safe_dump(self.kubeconfig()), encoding="utf-8")
        return path
