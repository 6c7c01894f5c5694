"""Logs and metrics: what pods say and how much they use."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from . import refusals
from .refusals import Refused
from .resources import NODES, PODS, Object
from .selectors import label_matcher
from .store import Store

_METRICS = "metrics.k8s.io/v1beta1"


@dataclass(frozen=True, slots=True)
class Usage:
    cpu: str = "10m"
    memory: str = "32Mi"


@dataclass(frozen=True, slots=True)
class Logs:
    current: str = ""
    previous: str = ""


@dataclass(slots=True)
class Observations:
    """By namespace and name of a pod or of the workload above it; nodes under the namespace ""."""

    logs: dict[tuple[str, str], Logs] = field(default_factory=dict)
    usage: dict[tuple[str, str], Usage] = field(default_factory=dict)
    unmeasured: set[tuple[str, str]] = field(default_factory=set)
    has_metrics: bool = True


def log_of(pod: Object, logs: Logs, query: Mapping[str, str]) -> str:
    container = _container(pod, query.get("container", ""))
    shown = next((s for s in pod["status"].get("containerStatuses", ()) if s["name"] == container), None)
    name, waiting = pod["metadata"]["name"], (shown or {}).get("state", {}).get("waiting", {})
    wants_previous = query.get("previous", "false").lower() not in {"false", "0"}
    has_run = bool(shown and (shown["lastState"] or "running" in shown["state"]))
    if wants_previous and not (shown and shown["lastState"]):
        raise refusals.bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
    if not has_run:
        why = waiting.get("reason", "ContainerCreating")
        why = "trying and failing to pull image" if why == "ImagePullBackOff" else why
        raise refusals.bad_request(f'container "{container}" in pod "{name}" is waiting to start: {why}')
    text = logs.previous or logs.current if wants_previous else logs.current
    lines = text.splitlines(keepends=True)
    if "tailLines" in query:
        lines = lines[max(0, len(lines) - int(query["tailLines"])) :]
    return "".join(lines)[: int(query["limitBytes"]) if "limitBytes" in query else None]


def _container(pod: Object, asked: str) -> str:
    names, pod_name = [str(container["name"]) for container in pod["spec"]["containers"]], pod["metadata"]["name"]
    if asked and asked not in names:
        raise refusals.bad_request(f"container {asked} is not valid for pod {pod_name}")
    if not asked and len(names) > 1:
        choices = " ".join(names)
        raise refusals.bad_request(f"a container name must be specified for pod {pod_name}, choose one of: [{choices}]")
    return asked or names[0]


class Metrics:
    """metrics.k8s.io, as metrics-server serves it: running pods only."""

    def __init__(self, store: Store, observations: Observations) -> None:
        self._store = store
        self._observations = observations

    def pods(self, namespace: str, labels: str, *, names: Mapping[str, str]) -> Object:
        """`names` gives the workload above each pod, by the pod's uid."""
        holds = label_matcher(labels)
        running = [p for p in self._store.all(PODS, namespace) if p["status"].get("phase") == "Running"]
        unmeasured = self._observations.unmeasured
        measured = [p for p in running if (p["metadata"]["namespace"], p["metadata"]["name"]) not in unmeasured]
        chosen = [p for p in measured if holds(p["metadata"].get("labels") or {})]
        return _metrics_list("PodMetricsList", (self._pod(pod, names[pod["metadata"]["uid"]]) for pod in chosen))

    def pod(self, namespace: str, name: str, *, workload: str) -> Object:
        pod = self._store.find(PODS, namespace, name)
        if pod is None or pod["status"].get("phase") != "Running":
            raise _no_metrics("pods", f"{namespace}/{name}")
        return {"kind": "PodMetrics", "apiVersion": _METRICS, **self._pod(pod, workload)}

    def nodes(self, labels: str) -> Object:
        holds, nodes = label_matcher(labels), self._store.all(NODES)
        chosen = [n for n in nodes if holds(n["metadata"].get("labels") or {})]
        return _metrics_list("NodeMetricsList", map(self._node, chosen))

    def node(self, name: str) -> Object:
        node = self._store.find(NODES, "", name)
        if node is None:
            raise _no_metrics("nodes", name)
        return {"kind": "NodeMetrics", "apiVersion": _METRICS, **self._node(node)}

    def _pod(self, pod: Object, workload: str) -> Object:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        known = self._observations.usage
        usage = known.get((namespace, name)) or known.get((namespace, workload)) or Usage()
        used = {"cpu": usage.cpu, "memory": usage.memory}
        containers = [{"name": container["name"], "usage": used} for container in pod["spec"]["containers"]]
        return {**self._measured(pod), "containers": containers}

    def _node(self, node: Object) -> Object:
        usage = self._observations.usage.get(("", node["metadata"]["name"]), Usage("250m", "1Gi"))
        return {**self._measured(node), "usage": {"cpu": usage.cpu, "memory": usage.memory}}

    def _measured(self, obj: Object) -> Object:
        metadata = {k: obj["metadata"][k] for k in ("name", "namespace", "labels") if k in obj["metadata"]}
        now = self._store.now()
        return {"metadata": {**metadata, "creationTimestamp": now}, "timestamp": now, "window": "15s"}


def _metrics_list(kind: str, items: Iterable[Object]) -> Object:
    return {"kind": kind, "apiVersion": _METRICS, "metadata": {}, "items": list(items)}


def _no_metrics(plural: str, name: str) -> Refused:
    details = {"name": name, "group": "metrics.k8s.io", "kind": plural}
    message = f'{plural}.metrics.k8s.io "{name}" not found'
    return Refused(404, message, reason="NotFound", details=details)
