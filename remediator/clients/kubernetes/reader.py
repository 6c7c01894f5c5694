"""Looks at a cluster. Every write it can send is a dry run (`read_only.py`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote

import msgspec
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from remediator.clients.kubernetes.objects import Event, Hpa, Owner, Pod, PodMetrics, Selector, Workload
from remediator.clients.kubernetes.read_only import ReadOnly, dry_run_of
from remediator.domain.errors import Ambiguous, BadPayload, NotFound, RemediatorError, Temporary
from remediator.domain.plan import Call, Permission, Rehearsal
from remediator.domain.target import WORKLOADS, Target, plural_of

PAGE = 500
MOST_OBJECTS = 10_000

T = TypeVar("T")


class _ListMeta(msgspec.Struct, frozen=True):
    token: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct, frozen=True):
    items: list[msgspec.Raw] = msgspec.field(default_factory=list)
    metadata: _ListMeta = _ListMeta()


def workload_path(target: Target) -> str:
    """Raises `BadPayload` for what is none."""
    if target.kind not in WORKLOADS:
        raise BadPayload(f"{target} is no workload")
    return f"{namespace_path('/apis/apps/v1', target.namespace)}/{target.plural}/{quote(target.name)}"


def namespace_path(api: str, namespace: str) -> str:
    return f"{api}/namespaces/{quote(namespace)}"


@dataclass(frozen=True, slots=True)
class KubernetesReader:
    """Each method raises `NotFound`, `NotAllowed` (RBAC), `Temporary` or `Permanent`."""

    server: ReadOnly

    async def workload(self, target: Target) -> Workload:
        found = await self._get(workload_path(target), Workload)
        return msgspec.structs.replace(found, kind=target.kind)

    async def pods(self, target: Target) -> list[Pod]:
        """Those that the workload controls; of a pod, itself. An empty selector is nobody's."""
        if target.kind == "pod":
            return [await self.pod(target.namespace, target.name)]
        return await self.pods_of(await self.workload(target))

    async def pods_of(self, workload: Workload) -> list[Pod]:
        """A selector alone does not say whose they are: a canary's or a Job's pods may wear the same labels.

        Of a Deployment its replica sets are looked up last, or a pod of the newest might seem to be nobody's.
        """
        path = f"{namespace_path('/api/v1', workload.metadata.namespace)}/pods"
        found = await self._list(path, Pod, {"labelSelector": selector_text(workload.spec.selector)})
        controllers = {workload.metadata.uid}
        if workload.kind == "deployment":
            controllers = {replica_set.metadata.uid for replica_set in await self.replica_sets(workload)}
        return [pod for pod in found if pod.metadata.controller and pod.metadata.controller.uid in controllers]

    async def pod(self, namespace: str, name: str) -> Pod:
        return await self._get(f"{namespace_path('/api/v1', namespace)}/pods/{quote(name)}", Pod)

    async def owner_of(self, pod: Pod) -> Target:
        """What keeps the pod there, under a name that outlives it: of a ReplicaSet's pod the Deployment, where there is
        one. The pod itself where nothing controls it."""
        controller = pod.metadata.controller
        if controller is not None and _kind_of(controller) == "replicaset":
            path = f"{namespace_path('/apis/apps/v1', pod.metadata.namespace)}/replicasets/{quote(controller.name)}"
            controller = (await self._get(path, Workload)).metadata.controller or controller
        if controller is None:
            return Target("pod", pod.metadata.name, pod.metadata.namespace)
        return Target(_kind_of(controller), controller.name, pod.metadata.namespace)

    async def replica_sets(self, deployment: Workload) -> list[Workload]:
        """Those the deployment controls, in no order."""
        path = f"{namespace_path('/apis/apps/v1', deployment.metadata.namespace)}/replicasets"
        found = await self._list(path, Workload, {"labelSelector": selector_text(deployment.spec.selector)})
        return [rs for rs in found if rs.metadata.controller and rs.metadata.controller.uid == deployment.metadata.uid]

    async def raw(self, path: str) -> Mapping[str, object]:
        """The whole object, for what is written back."""
        document: Mapping[str, object] = msgspec.json.decode(await self._look(path))
        return document

    async def logs(
        self, namespace: str, pod: str, *, container: str = "", tail: int, previous: bool, limit_bytes: int
    ) -> str:
        query = {"tailLines": str(tail), "limitBytes": str(limit_bytes), "previous": str(previous).lower()}
        if container:
            query["container"] = container
        path = f"{namespace_path('/api/v1', namespace)}/pods/{quote(pod)}/log"
        return (await self._look(path, query)).decode("utf-8", "replace")

    async def events(self, namespace: str) -> list[Event]:
        return await self._list(f"{namespace_path('/api/v1', namespace)}/events", Event, {})

    async def pod_metrics(self, workload: Workload) -> list[PodMetrics]:
        """Of what its selector matches, also of others' pods. Raises `NotFound` where there is no metrics API."""
        path = f"{namespace_path('/apis/metrics.k8s.io/v1beta1', workload.metadata.namespace)}/pods"
        return await self._list(path, PodMetrics, {"labelSelector": selector_text(workload.spec.selector)})

    async def autoscaler_of(self, target: Target) -> Hpa | None:
        path = f"{namespace_path('/apis/autoscaling/v2', target.namespace)}/horizontalpodautoscalers"
        try:
            found = await self._list(path, Hpa, {})
        except NotFound:
            return None
        return next((hpa for hpa in found if _scales(hpa, target)), None)

    async def rehearse(self, call: Call) -> Rehearsal:
        """Asks the API server with `dryRun=All`: permissions, admission, quotas and preconditions all answer.

        Raises `Temporary` where it cannot be asked; its no is a `Rehearsal`.
        """
        try:
            await self.server.rehearse(dry_run_of(call))
        except Temporary as error:
            refused = Rehearsal(accepted=False, detail=str(error))
            if is_of_a_budget(refused):
                return refused
            raise
        except Ambiguous as error:
            raise Temporary(error.message, system=error.system, operation=error.operation) from error
        except RemediatorError as error:
            return Rehearsal(accepted=False, detail=str(error))
        return Rehearsal(accepted=True, detail=f"the API server would accept {call}")

    async def _get(self, path: str, kind: type[T]) -> T:
        return msgspec.json.decode(await self._look(path), type=kind)

    async def _list(self, path: str, kind: type[T], query: Mapping[str, str]) -> list[T]:
        """Page by page."""
        found: list[T] = []
        token = ""
        while len(found) < MOST_OBJECTS:
            paging = {"limit": str(PAGE)} | ({"continue": token} if token else {})
            page = msgspec.json.decode(await self._look(path, {**query, **paging}), type=_Page)
            found += [msgspec.json.decode(item, type=kind) for item in page.items]
            token = page.metadata.token
            if not token:
                break
        return found

    async def _look(self, path: str, query: Mapping[str, str] | None = None) -> bytes:
        """Looks may be repeated: three tries within a couple of seconds."""
        async for attempt in AsyncRetrying(
            retry=retry_if_exception_type(Temporary),
            stop=stop_after_attempt(3),
            wait=wait_random_exponential(0.1, max=1),
            reraise=True,
        ):
            with attempt:
                return await self.server.look(path, query)
        raise AssertionError("tenacity ends with a value or an error")


def is_of_a_budget(refused: Rehearsal) -> bool:
    """Whether an eviction was refused for the sake of the pod's disruption budgets, and of nothing else. No name in the
    refusal can look like it: names have neither spaces nor capitals."""
    return "disruption budget" in refused.detail or "PodDisruptionBudget" in refused.detail


def to_read_pods(target: Target | None) -> tuple[Permission, ...]:
    """What `pods` asks for: the workload, and of a Deployment the replica sets that control its pods."""
    pods = (Permission("get", "pods"), Permission("list", "pods"))
    if target is None or target.kind not in WORKLOADS:
        return pods
    replica_sets = (Permission("list", "replicasets", "apps"),) if target.kind == "deployment" else ()
    return (*pods, Permission("get", target.plural, "apps"), *replica_sets)


def to_find_owner() -> tuple[Permission, ...]:
    """What `owner_of` asks for, and then the looks at the pods of what it has found."""
    workloads = tuple(Permission("get", plural_of(kind), "apps") for kind in WORKLOADS)
    return (*workloads, Permission("get", "replicasets", "apps"), Permission("list", "replicasets", "apps"))


def _kind_of(owner: Owner) -> str:
    """As a target has it: others' kinds may have the names of ours, so theirs are written as kubectl does."""
    group = owner.api_version.rpartition("/")[0]
    return f"{owner.kind.lower()}.{group}" if group not in {"", "apps"} else owner.kind.lower()


def selector_text(selector: Selector) -> str:
    """As a query wants it. Raises `NotFound` for an empty one: it would select everything."""
    terms = [f"{name}={value}" for name, value in sorted(selector.match_labels.items())]
    terms += [_expression_text(expression) for expression in selector.match_expressions]
    if not terms:
        raise NotFound("the workload has an empty selector: it names no pods")
    return ",".join(terms)


def _expression_text(expression: Mapping[str, object]) -> str:
    key, operator, values = expression.get("key"), expression.get("operator"), expression.get("values") or ()
    listed = ",".join(str(value) for value in values) if isinstance(values, list) else ""
    match operator:
        case "In":
            return f"{key} in ({listed})"
        case "NotIn":
            return f"{key} notin ({listed})"
        case "Exists":
            return f"{key}"
        case _:
            return f"!{key}"


def _scales(hpa: Hpa, target: Target) -> bool:
    reference = hpa.spec.scale_target_ref
    return reference.kind.lower() == target.kind and reference.name == target.name
