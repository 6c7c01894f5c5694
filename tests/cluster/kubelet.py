"""A kubelet without containers: a Ready node whose pods run at once, or fail as their annotation says.

It watches the pods bound to its node, reports their status, lets deleted ones go, and answers for logs over the
kubelet's own HTTPS endpoint, so that `pods/log` works through the real API server.
"""

import asyncio
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from secrets import token_hex
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from tests.cluster.api import ApiFailure
from tests.cluster.control_plane import ControlPlane

BEHAVIOUR = "fake-kubelet/behaviour"
LOGS = "fake-kubelet/logs"
PREVIOUS_LOGS = "fake-kubelet/previous-logs"
_RENEW_SECONDS = 10


class Behaviour(StrEnum):
    """What the annotation `fake-kubelet/behaviour` may say; without it a pod is `ready`."""

    READY = "ready"
    UNREADY = "unready"
    """Runs, but its readiness probe fails."""
    CRASH = "crash"
    """CrashLoopBackOff after exit code 1, five restarts."""
    OOM = "oom"
    """CrashLoopBackOff after OOMKilled, exit code 137."""
    NO_IMAGE = "no-image"
    """ImagePullBackOff."""
    PENDING = "pending"
    """Bound, but the kubelet never gets to it."""
    EVICTED = "evicted"
    """Ended by its node, which was short of memory: its record stays."""
    STUCK = "stuck"
    """Ready, and does not go when deleted."""


class FakeKubelet:
    """One node. Use as an async context manager; leaving takes its pods and the node away."""

    def __init__(self, cluster: ControlPlane, *, name: str | None = None) -> None:
        self._cluster = cluster
        self.node = name or f"node-{token_hex(3)}"
        self._reported: dict[str, Behaviour] = {}
        self._pods: dict[tuple[str, str], dict[str, Any]] = {}
        self._lease = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{self.node}"

    async def __aenter__(self) -> Self:
        self._api = await self._cluster.api().__aenter__()
        self._runner = web.AppRunner(self._logs_endpoint())
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._serving_context())
        await site.start()
        await self._register(port=self._runner.addresses[0][1])
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._loops = [self._tasks.create_task(self._renew_lease()), self._tasks.create_task(self._follow_pods())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for loop in self._loops:
            loop.cancel()
        try:
            await self._tasks.__aexit__(kind, error, trace)
            await self._leave()
        finally:
            await self._hang_up()
            await self._api.__aexit__(None, None, None)

    async def _hang_up(self) -> None:
        """The API server keeps its connections; waiting for its half of a TLS goodbye would outlive the test's loop."""
        for connection in self._runner.server.connections if self._runner.server else ():
            if connection.transport is not None:
                connection.transport.abort()
        await self._runner.cleanup()
        await asyncio.sleep(0)

    async def _register(self, *, port: int) -> None:
        await self._api.create("/api/v1/nodes", _node(self.node, port))
        lease = {"metadata": {"name": self.node}, "spec": self._lease_spec()}
        await self._api.create(self._lease.rpartition("/")[0], lease)

    async def _leave(self) -> None:
        for namespace, name in self._pods:
            await self._let_go(namespace, name)
        await self._api.delete(f"/api/v1/nodes/{self.node}")

    async def _renew_lease(self) -> None:
        """Without it the node controller taints the node and evicts its pods."""
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            await self._api.merge(self._lease, {"spec": self._lease_spec()})

    def _lease_spec(self) -> dict[str, Any]:
        renewed = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        return {"holderIdentity": self.node, "leaseDurationSeconds": 40, "renewTime": renewed}

    async def _follow_pods(self) -> None:
        mine = f"spec.nodeName={self.node}"
        while True:
            listing = await self._api.get("/api/v1/pods", fieldSelector=mine)
            for pod in listing["items"]:
                await self._see(pod)
            version = listing["metadata"]["resourceVersion"]
            async for event in self._api.watch("/api/v1/pods", fieldSelector=mine, resourceVersion=version):
                if event["type"] == "ERROR":
                    break
                await self._see(event["object"], gone=event["type"] == "DELETED")

    async def _see(self, pod: dict[str, Any], *, gone: bool = False) -> None:
        meta = pod["metadata"]
        key = (meta["namespace"], meta["name"])
        if gone:
            self._pods.pop(key, None)
            self._reported.pop(meta["uid"], None)
            return
        self._pods[key] = pod
        behaviour = Behaviour(meta.get("annotations", {}).get(BEHAVIOUR, Behaviour.READY))
        if meta.get("deletionTimestamp"):
            if behaviour is not Behaviour.STUCK:
                await self._let_go(*key)
        elif self._reported.get(meta["uid"]) is not behaviour:
            self._reported[meta["uid"]] = behaviour
            await self._report(pod, behaviour)

    async def _report(self, pod: Mapping[str, Any], behaviour: Behaviour) -> None:
        if behaviour is Behaviour.PENDING:
            return
        path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}/status"
        try:
            await self._api.merge(path, {"status": _status(pod, behaviour)})
        except ApiFailure as failure:
            if failure.status not in {404, 409}:
                raise

    async def _let_go(self, namespace: str, name: str) -> None:
        try:
            await self._api.delete(f"/api/v1/namespaces/{namespace}/pods/{name}", grace=0)
        except ApiFailure as failure:
            if failure.status != 404:
                raise

    def _logs_endpoint(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._answer_logs)
        return application

    async def _answer_logs(self, request: web.Request) -> web.Response:
        pod = self._pods.get((request.match_info["namespace"], request.match_info["pod"]))
        if pod is None:
            return web.Response(status=404, text="no such pod on this node")
        annotations = pod["metadata"].get("annotations", {})
        source = PREVIOUS_LOGS if request.query.get("previous") == "true" else LOGS
        lines = annotations.get(source, f"{request.match_info['container']} started").splitlines()
        tail = int(request.query.get("tailLines", len(lines)))
        return web.Response(text="".join(f"{line}\n" for line in lines[max(0, len(lines) - tail) :]))

    def _serving_context(self) -> ssl.SSLContext:
        serving = self._cluster.kubelet_serving_certificate()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self._cluster.ca_file))
        context.load_cert_chain(serving.cert, serving.key)
        context.verify_mode = ssl.CERT_REQUIRED
        return context


def _node(name: str, port: int) -> dict[str, Any]:
    capacity = {"cpu": "64", "memory": "256Gi", "pods": "1000", "ephemeral-storage": "1Ti"}
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "status": {
            "capacity": capacity,
            "allocatable": capacity,
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": name}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "nodeInfo": _node_info(),
            "conditions": [
                {"type": "Ready", "status": "True", "reason": "KubeletReady"} | _stamps("lastHeartbeatTime"),
                {"type": "MemoryPressure", "status": "False", "reason": "Enough"} | _stamps("lastHeartbeatTime"),
                {"type": "DiskPressure", "status": "False", "reason": "Enough"} | _stamps("lastHeartbeatTime"),
                {"type": "PIDPressure", "status": "False", "reason": "Enough"} | _stamps("lastHeartbeatTime"),
            ],
        },
    }


def _node_info() -> dict[str, str]:
    unknown = ("machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "kubeProxyVersion")
    known = {"containerRuntimeVersion": "fake://1", "kubeletVersion": "v1.36.0"}
    return dict.fromkeys(unknown, "") | known | {"operatingSystem": "linux", "architecture": "amd64"}


def _stamps(extra: str | None = None) -> dict[str, str]:
    now = _now()
    return {"lastTransitionTime": now} | ({extra: now} if extra else {})


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _status(pod: Mapping[str, Any], behaviour: Behaviour) -> dict[str, Any]:
    ready = behaviour in {Behaviour.READY, Behaviour.STUCK}
    answer = "True" if ready else "False"
    conditions = [("PodScheduled", "True"), ("Initialized", "True"), ("ContainersReady", answer), ("Ready", answer)]
    if behaviour is Behaviour.EVICTED:
        why = "The node was low on resource: memory."
        ended = [{"type": "Ready", "status": "False"} | _stamps()]
        return {"phase": "Failed", "reason": "Evicted", "message": why, "conditions": ended, "containerStatuses": []}
    return {
        "phase": "Pending" if behaviour is Behaviour.NO_IMAGE else "Running",
        "startTime": _now(),
        "hostIP": "127.0.0.1",
        "podIP": "127.0.0.1",
        "podIPs": [{"ip": "127.0.0.1"}],
        "conditions": [{"type": kind, "status": status} | _stamps() for kind, status in conditions],
        "containerStatuses": [_container(each, behaviour) for each in pod["spec"]["containers"]],
    }


def _container(container: Mapping[str, Any], behaviour: Behaviour) -> dict[str, Any]:
    base: dict[str, Any] = {
        "name": container["name"],
        "image": container["image"],
        "imageID": f"fake://{container['image']}",
        "ready": behaviour in {Behaviour.READY, Behaviour.STUCK},
        "restartCount": 0,
    }
    match behaviour:
        case Behaviour.CRASH:
            return base | _crashed("Error", 1)
        case Behaviour.OOM:
            return base | _crashed("OOMKilled", 137)
        case Behaviour.NO_IMAGE:
            return base | {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
        case Behaviour.READY | Behaviour.UNREADY | Behaviour.STUCK | Behaviour.PENDING | Behaviour.EVICTED:
            return base | {"started": True, "state": {"running": {"startedAt": _now()}}}


def _crashed(reason: str, exit_code: int) -> dict[str, Any]:
    ended = {"exitCode": exit_code, "reason": reason, "startedAt": _now(), "finishedAt": _now()}
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}
    return {"restartCount": 5, "state": {"waiting": waiting}, "lastState": {"terminated": ended}}
