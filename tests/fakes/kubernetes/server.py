"""The wire: paths and bodies in, Status bodies and streams out; each request is recorded, then answered or refused."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import yaml
from aiohttp import web

from . import refusals
from .access import Access
from .api import APPLY, Api
from .controllers import Controllers
from .faults import Faults
from .paging import page_of
from .refusals import Refused
from .requests import Address, Options, Recorded, Recording, Script, address_of, options_of, verb_of
from .resources import PODS, RESOURCES, Object
from .store import Store
from .usage import Logs, Metrics, Observations, log_of
from .watching import events_of

_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_METRICS = "/apis/metrics.k8s.io/v1beta1"
_VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.3",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "go1.26.8",
    "compiler": "gc",
    "platform": "linux/amd64",
}


@dataclass(frozen=True, slots=True)
class Asked:
    method: str
    path: str
    query: Mapping[str, str]
    content_type: str
    body: Any


class Server:
    def __init__(self, store: Store, faults: Faults) -> None:
        self.controllers = Controllers(store, faults)
        self.api = Api(store, self.controllers)
        self.access = Access()
        self.script = Script()
        self.recording = Recording()
        self.observations = Observations()
        self._store = store
        self._metrics = Metrics(store, self.observations)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=8 * 1024**2)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            asked = await _read(request)
            recorded = Recorded(asked.method, asked.path, dict(asked.query), asked.body)
            self.recording.append(recorded)
            return await self._recorded(request, asked, recorded)
        except Refused as refused:
            headers = {"Retry-After": str(refused.retry_after)} if refused.retry_after else None
            return web.json_response(refused.status, status=refused.code, headers=headers)

    async def _recorded(self, request: web.Request, asked: Asked, recorded: Recorded) -> web.StreamResponse:
        try:
            self.script.check(recorded)
            answer = await self._answer(request, asked)
        except Refused as refused:
            recorded.answered = refused.code
            raise
        recorded.answered = answer.status
        if request.transport is not None and self.script.hangs_up(recorded):
            request.transport.abort()
        return answer

    async def _answer(self, request: web.Request, asked: Asked) -> web.StreamResponse:
        at = address_of(asked.path)
        if at is None:
            return self._beside_objects(asked)
        options = options_of(asked.method, asked.query, asked.body)
        self.access.check(verb_of(asked.method, at, options), at)
        if (at.resource, at.subresource) == (PODS, "log"):
            return web.Response(text=self._log(at, asked.query))
        if asked.method == "GET" and options.is_watch:
            return await self._watch(request, at, options)
        code, body = self._act(at, asked, options)
        return web.json_response(body, status=code)

    def _act(self, at: Address, asked: Asked, options: Options) -> tuple[int, Object]:
        match asked.method:
            case "GET":
                return self.api.get(at) if at.name else (200, page_of(self._store, self.api, at, options=options))
            case "POST":
                return self.api.create(at, _object(asked.body), options)
            case "PUT" if at.name:
                return self.api.replace(at, _object(asked.body), options)
            case "PATCH" if at.name:
                return self.api.patch(at, asked.content_type, patch=asked.body, options=options)
            case "DELETE":
                delete = self.api.delete if at.name else self.api.delete_all
                return delete(at, asked.body, options)
            case _:
                raise refusals.method_not_allowed()

    def _beside_objects(self, asked: Asked) -> web.Response:
        path = asked.path.rstrip("/")
        if path == _REVIEW and asked.method == "POST":
            return web.json_response(self.access.review(_object(asked.body)), status=201)
        if path in {"/healthz", "/livez", "/readyz"}:
            return web.Response(text="ok")
        if path == "/version":
            return web.json_response(_VERSION)
        if path.startswith(_METRICS) and self.observations.has_metrics:
            return web.json_response(self._measure(path.removeprefix(_METRICS), asked.query))
        if resources := _discovery(path):
            return web.json_response(resources)
        return web.Response(text="404 page not found\n", status=404)

    def _measure(self, path: str, query: Mapping[str, str]) -> Object:
        labels, parts = query.get("labelSelector", ""), path.strip("/").split("/")
        match parts:
            case ["nodes", *name]:
                self._may_measure("nodes", "", *name)
                return self._metrics.node(name[0]) if name else self._metrics.nodes(labels)
            case ["pods"]:
                self._may_measure("pods", "")
                return self._metrics.pods("", labels, names=self._workloads())
            case ["namespaces", namespace, "pods"]:
                self._may_measure("pods", namespace)
                return self._metrics.pods(namespace, labels, names=self._workloads())
            case ["namespaces", namespace, "pods", name]:
                self._may_measure("pods", namespace, name)
                pod = self._store.find(PODS, namespace, name)
                workload = self.controllers.kubelet.workload_of(pod) if pod else ""
                return self._metrics.pod(namespace, name, workload=workload)
            case _:
                names = [{"name": "nodes", "namespaced": False}, {"name": "pods", "namespaced": True}]
                return _resource_list("metrics.k8s.io/v1beta1", names)

    def _may_measure(self, plural: str, namespace: str, name: str = "") -> None:
        verb = "get" if name else "list"
        self.access.check_named(verb, plural, group="metrics.k8s.io", namespace=namespace, name=name)

    def _workloads(self) -> dict[str, str]:
        return {pod["metadata"]["uid"]: self.controllers.kubelet.workload_of(pod) for pod in self._store.all(PODS)}

    def _log(self, at: Address, query: Mapping[str, str]) -> str:
        pod = self._store.get(PODS, at.namespace, at.name)
        known, workload = self.observations.logs, self.controllers.kubelet.workload_of(pod)
        logs = known.get((at.namespace, at.name)) or known.get((at.namespace, workload)) or Logs()
        return log_of(pod, logs, query)

    async def _watch(self, request: web.Request, at: Address, options: Options) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        async for event in events_of(self._store, self.api, at, options=options):
            await response.write(msgspec.json.encode(event) + b"\n")
        await response.write_eof()
        return response


async def _read(request: web.Request) -> Asked:
    raw, kind = await request.read(), request.content_type
    try:
        body = (yaml.safe_load(raw) if kind == APPLY else msgspec.json.decode(raw)) if raw.strip() else None
    except (msgspec.DecodeError, yaml.YAMLError) as error:
        raise refusals.bad_request(f"error decoding the body: {error}") from error
    return Asked(request.method, request.path, request.query, kind, body)


def _object(body: Any) -> Object:
    if not isinstance(body, dict):
        raise refusals.bad_request("the body of the request is no object")
    return body


def _discovery(path: str) -> Object | None:
    versions = {r.api_version: r for r in RESOURCES}
    version = path.removeprefix("/apis/").removeprefix("/api/")
    if version not in versions:
        return None
    served = [r for r in RESOURCES if r.api_version == version]
    return _resource_list(version, [{"name": r.plural, "kind": r.kind, "namespaced": r.is_namespaced} for r in served])


def _resource_list(version: str, resources: list[Object]) -> Object:
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
