"""The controllers that keep pods: ReplicaSets, StatefulSets, DaemonSets make what is missing, remove what is over."""

from collections.abc import Iterable
from copy import deepcopy

from .kubelet import is_over, is_ready
from .resources import DAEMON_SETS, NODES, PODS, REPLICA_SETS, STATEFUL_SETS, Object, Resource, is_owned_by
from .rollouts import owner_reference, short_hash
from .store import Store

_REVISION_LABEL = "controller-revision-hash"


class Replicas:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._made = 0

    def run(self) -> None:
        for replica_set in self._store.all(REPLICA_SETS):
            self._keep_replica_set(replica_set)
        for stateful_set in self._store.all(STATEFUL_SETS):
            self._keep_stateful_set(stateful_set)
        for daemon_set in self._store.all(DAEMON_SETS):
            self._keep_daemon_set(daemon_set)

    def _pods(self, owner: Object) -> list[Object]:
        return [pod for pod in self._store.all(PODS, owner["metadata"]["namespace"]) if is_owned_by(pod, owner)]

    def _keep_replica_set(self, replica_set: Object) -> None:
        pods = [pod for pod in self._pods(replica_set) if not is_over(pod)]
        wanted = replica_set["spec"]["replicas"]
        for _ in range(wanted - len(pods)):
            self._made += 1
            suffix = short_hash([replica_set["metadata"]["uid"], self._made], 5)
            self._make(replica_set, f"{replica_set['metadata']['name']}-{suffix}")
        # Like the real one: what isn't ready goes first, then what is youngest.
        unready_first = sorted(pods, key=lambda pod: (is_ready(pod), -_age(pod)))
        self._remove(unready_first[: max(0, len(pods) - wanted)])
        pods = [pod for pod in self._pods(replica_set) if not is_over(pod)]
        ready = sum(map(is_ready, pods))
        counts = {"fullyLabeledReplicas": len(pods), "readyReplicas": ready, "availableReplicas": ready}
        self._report(REPLICA_SETS, replica_set, {"replicas": len(pods)} | _without_zeros(counts))

    def _keep_stateful_set(self, stateful_set: Object) -> None:
        """Ordered: the next pod is made, or the next old one replaced, only when all before it are ready."""
        wanted, digest = stateful_set["spec"]["replicas"], _digest(stateful_set)
        name = stateful_set["metadata"]["name"]
        pods = {int(pod["metadata"]["name"].rpartition("-")[2]): pod for pod in self._pods(stateful_set)}
        self._remove(pod for number, pod in pods.items() if number >= wanted)
        kept = [pods.get(number) for number in range(wanted)]
        missing = next((number for number, pod in enumerate(kept) if pod is None), None)
        rolled = kept[_first_rolled(stateful_set) :]
        outdated = [pod for pod in rolled if pod and pod["metadata"]["labels"][_REVISION_LABEL] != digest]
        if missing is not None and all(pod is None or is_ready(pod) for pod in kept[:missing]):
            self._make(stateful_set, f"{name}-{missing}", digest=digest)
        elif missing is None and outdated and all(pod and is_ready(pod) for pod in kept if pod not in outdated):
            self._remove(outdated[-1:])
        pods_now = self._pods(stateful_set)
        ready = sum(map(is_ready, pods_now))
        current = sum(pod["metadata"]["labels"][_REVISION_LABEL] == digest for pod in pods_now)
        counts = {"readyReplicas": ready, "currentReplicas": current, "updatedReplicas": current}
        revisions = {"currentRevision": f"{name}-{digest}", "updateRevision": f"{name}-{digest}", "collisionCount": 0}
        sizes = {"replicas": len(pods_now), "availableReplicas": ready}
        self._report(STATEFUL_SETS, stateful_set, sizes | _without_zeros(counts) | revisions)

    def _keep_daemon_set(self, daemon_set: Object) -> None:
        digest = _digest(daemon_set)
        nodes = [node["metadata"]["name"] for node in self._store.all(NODES)]
        pods = {pod["spec"].get("nodeName"): pod for pod in self._pods(daemon_set)}
        outdated = [pod for pod in pods.values() if pod["metadata"]["labels"][_REVISION_LABEL] != digest]
        if daemon_set["spec"]["updateStrategy"]["type"] == "OnDelete":
            outdated = []
        self._remove([*outdated[:1], *(pod for node, pod in pods.items() if node not in nodes)])
        for node in nodes:
            if node not in pods:
                self._made += 1
                suffix = short_hash([daemon_set["metadata"]["uid"], self._made], 5)
                self._make(daemon_set, f"{daemon_set['metadata']['name']}-{suffix}", digest=digest, node=node)
        pods_now = self._pods(daemon_set)
        ready = sum(map(is_ready, pods_now))
        updated = sum(pod["metadata"]["labels"][_REVISION_LABEL] == digest for pod in pods_now)
        always = {"currentNumberScheduled": len(pods_now), "desiredNumberScheduled": len(nodes), "numberReady": ready}
        counts = {"updatedNumberScheduled": updated, "numberAvailable": ready, "numberUnavailable": len(nodes) - ready}
        self._report(DAEMON_SETS, daemon_set, always | {"numberMisscheduled": 0} | _without_zeros(counts))

    def _make(self, owner: Object, name: str, *, digest: str = "", node: str = "") -> None:
        template = deepcopy(owner["spec"]["template"])
        metadata = {key: template["metadata"][key] for key in ("labels", "annotations") if key in template["metadata"]}
        metadata |= {"name": name, "namespace": owner["metadata"]["namespace"]}
        metadata |= {"generateName": f"{owner['metadata']['name']}-", "ownerReferences": [owner_reference(owner)]}
        if digest:
            metadata["labels"][_REVISION_LABEL] = digest
        spec = {**template["spec"], "nodeName": node} if node else template["spec"]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Pending"}}
        self._store.create(PODS, pod)

    def _remove(self, pods: Iterable[Object]) -> None:
        for pod in pods:
            self._store.remove(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])

    def _report(self, resource: Resource, owner: Object, status: Object) -> None:
        owner["status"] = {**status, "observedGeneration": owner["metadata"]["generation"]}
        self._store.update(resource, owner)


def _digest(owner: Object) -> str:
    return short_hash(owner["spec"]["template"], 10)


def _first_rolled(stateful_set: Object) -> int:
    """The pods before it keep the template they have."""
    strategy = stateful_set["spec"]["updateStrategy"]
    if strategy["type"] == "OnDelete":
        return int(stateful_set["spec"]["replicas"])
    return int((strategy.get("rollingUpdate") or {}).get("partition") or 0)


def _age(pod: Object) -> int:
    """Older pods have lower versions; enough to tell siblings apart."""
    return int(pod["metadata"]["resourceVersion"])


def _without_zeros(counts: dict[str, int]) -> dict[str, int]:
    return {key: value for key, value in counts.items() if value}
