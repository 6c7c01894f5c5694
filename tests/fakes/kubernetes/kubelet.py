"""Scheduler and kubelet in one: gives each pod a node and the status that its fault, or the lack of one, calls for."""

from .faults import EVENT_OF, Fault, Faults, Look, look_of
from .resources import EVENTS, NODES, PODS, REPLICA_SETS, Object, controller_of
from .store import Store


class Kubelet:
    def __init__(self, store: Store, faults: Faults) -> None:
        self._store = store
        self._faults = faults
        self._shown: dict[str, str] = {}
        """What each pod's status was last written for; a status patched from outside stays until this changes."""

    def run(self) -> None:
        for pod in self._store.all(PODS):
            self._place(pod)
        for pod in self._store.all(PODS):
            self._show(pod)

    def restart_crashed(self) -> None:
        """One more turn of the crash loop for everything in one."""
        for pod in self._store.all(PODS):
            waiting = [s for s in pod["status"].get("containerStatuses", ()) if s["lastState"].get("terminated")]
            if not waiting or self._fault(pod) not in {Fault.CRASHING, Fault.OUT_OF_MEMORY}:
                continue
            for container in waiting:
                container["restartCount"] += 1
                container["lastState"]["terminated"]["finishedAt"] = self._store.now()
            self._store.update(PODS, pod)

    def workload_of(self, pod: Object) -> str:
        """The name of the Deployment, StatefulSet or DaemonSet above a pod; its own where there is none."""
        owner = controller_of(pod)
        if owner is None:
            return str(pod["metadata"]["name"])
        if owner["kind"] == "ReplicaSet":
            replica_set = self._store.find(REPLICA_SETS, pod["metadata"]["namespace"], owner["name"])
            owner = (replica_set and controller_of(replica_set)) or owner
        return str(owner["name"])

    def _fault(self, pod: Object) -> Fault | None:
        return self._faults.of(pod, self.workload_of(pod))

    def _place(self, pod: Object) -> None:
        if pod["spec"].get("nodeName") or self._fault(pod) is Fault.UNSCHEDULABLE:
            return
        nodes = [node for node in self._store.all(NODES) if _takes_pods(node)]
        if not nodes:
            return
        taken = [other["spec"].get("nodeName") for other in self._store.all(PODS)]
        emptiest = min(nodes, key=lambda node: taken.count(node["metadata"]["name"]))
        pod["spec"]["nodeName"] = emptiest["metadata"]["name"]
        self._store.update(PODS, pod)

    def _show(self, pod: Object) -> None:
        fault, node = self._fault(pod), pod["spec"].get("nodeName")
        images = [container.get("image", "") for container in pod["spec"]["containers"]]
        sight = f"{fault} {node} {images}"
        uid = pod["metadata"]["uid"]
        if self._shown.get(uid) == sight:
            return
        self._shown[uid] = sight
        pod["status"] = self._running(pod, fault) if node else self._pending(pod)
        self._store.update(PODS, pod)
        if fault is not None:
            self._warn(pod, fault)

    def _running(self, pod: Object, fault: Fault | None) -> Object:
        now, name = self._store.now(), pod["metadata"]["name"]
        looks = [(c, look_of(fault, container=c, pod=name, now=now)) for c in pod["spec"]["containers"]]
        is_ready = all(look.is_ready for _, look in looks)
        is_stuck = fault in {Fault.IMAGE_MISSING, Fault.BAD_CONFIG}
        number = sum(uid_byte for uid_byte in pod["metadata"]["uid"].encode()) % 250 + 1
        ended = {"reason": "Evicted", "message": EVENT_OF[Fault.EVICTED][1]} if fault is Fault.EVICTED else {}
        return {
            **ended,
            "phase": "Failed" if ended else "Pending" if is_stuck else "Running",
            "hostIP": "127.0.0.1",
            "podIP": f"10.244.0.{number}",
            "podIPs": [{"ip": f"10.244.0.{number}"}],
            "qosClass": "BestEffort",
            "startTime": now,
            "conditions": [
                _condition("PodScheduled", True, now),
                _condition("Initialized", True, now),
                _condition("ContainersReady", is_ready, now),
                _condition("Ready", is_ready, now),
            ],
            "containerStatuses": [_container_status(container, look) for container, look in looks],
        }

    def _pending(self, pod: Object) -> Object:
        now = self._store.now()
        why = {"reason": "Unschedulable", "message": "0/3 nodes are available: 3 Insufficient memory."}
        return {
            "phase": "Pending",
            "qosClass": "BestEffort",
            "conditions": [{**_condition("PodScheduled", False, now), **why}],
        }

    def _warn(self, pod: Object, fault: Fault) -> None:
        reason, message = EVENT_OF[fault]
        name = f"{pod['metadata']['name']}.{self._store.version:x}"
        event = event_about(pod, name=name, reason=reason, message=message, type="Warning", now=self._store.now())
        self._store.create(EVENTS, event)


def event_about(obj: Object, *, name: str, reason: str, message: str, type: str, now: str) -> Object:  # noqa: A002
    metadata = obj["metadata"]
    namespace = metadata.get("namespace", "default")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "name": metadata["name"],
            "namespace": namespace,
            "uid": metadata["uid"],
        },
        "reason": reason,
        "message": message,
        "type": type,
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": {"component": "kubelet"},
        "reportingComponent": "kubelet",
        "reportingInstance": "",
    }


def is_over(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in {"Succeeded", "Failed"}


def is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _takes_pods(node: Object) -> bool:
    conditions = node.get("status", {}).get("conditions", ())
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and not node.get("spec", {}).get("unschedulable")


def _condition(type_: str, holds: bool, now: str) -> Object:
    return {
        "type": type_,
        "status": "True" if holds else "False",
        "lastProbeTime": None,
        "lastTransitionTime": now,
    }


def _container_status(container: Object, look: Look) -> Object:
    image = container.get("image", "")
    return {
        "name": container["name"],
        "image": image,
        "imageID": f"docker.io/{image}" if look.is_started or look.restarts else "",
        "ready": look.is_ready,
        "started": look.is_started,
        "restartCount": look.restarts,
        "state": look.state,
        "lastState": look.last_state,
    }
