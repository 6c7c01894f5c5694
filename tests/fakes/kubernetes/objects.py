"""Objects as a cluster has them before anything happens, and as `deploy` writes them."""

from .resources import Object

_NODE_INFO = {
    "architecture": "amd64",
    "bootID": "fake",
    "containerRuntimeVersion": "containerd://2.2.0",
    "kernelVersion": "6.12.0",
    "kubeProxyVersion": "",
    "kubeletVersion": "v1.36.3",
    "machineID": "fake",
    "operatingSystem": "linux",
    "osImage": "Debian GNU/Linux 13 (trixie)",
    "systemUUID": "fake",
}


def node(name: str, now: str) -> Object:
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}
    room = {"cpu": "4", "memory": "8Gi", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "spec": {},
        "status": {
            "conditions": [{**ready, "lastHeartbeatTime": now, "lastTransitionTime": now}],
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": name}],
            "capacity": room,
            "allocatable": room,
            "nodeInfo": _NODE_INFO,
        },
    }


def namespace(name: str) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def workload(
    kind: str,
    name: str,
    *,
    image: str,
    replicas: int,
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
    memory_limit: str = "256Mi",
) -> Object:
    """A Deployment, StatefulSet or DaemonSet with one container called after it."""
    chosen = {"app": name}
    resources = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": memory_limit}}
    spec: Object = {
        "selector": {"matchLabels": chosen},
        "template": {
            "metadata": {"labels": {**chosen, **(labels or {})}},
            "spec": {"containers": [{"name": name, "image": image, "resources": resources}]},
        },
    }
    if kind != "DaemonSet":
        spec["replicas"] = replicas
    if kind == "StatefulSet":
        spec["serviceName"] = name
    metadata = {"name": name, "labels": {**chosen, **(labels or {})}, "annotations": annotations or {}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec}


def budget(name: str, *, app: str, min_available: int | str) -> Object:
    spec = {"minAvailable": min_available, "selector": {"matchLabels": {"app": app}}}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": name}, "spec": spec}


def kubeconfig(url: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "fake",
        "clusters": [{"name": "fake", "cluster": {"server": url}}],
        "users": [{"name": "fake", "user": {"token": "fake"}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
    }
