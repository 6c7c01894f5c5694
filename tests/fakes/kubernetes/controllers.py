"""All controllers, run until nothing changes any more: after each write, and at each tick."""

from .budgets import Budgets
from .faults import Faults
from .kubelet import Kubelet
from .replicas import Replicas
from .resources import AUTOSCALERS, PODS, REPLICA_SETS, RESOURCES, controller_of, resource_of_kind
from .rollouts import Rollouts
from .store import Store

_ROUNDS = 200
_SCALED = {"Deployment", "ReplicaSet", "StatefulSet"}


class Controllers:
    def __init__(self, store: Store, faults: Faults) -> None:
        self._store = store
        self.kubelet = Kubelet(store, faults)
        self.budgets = Budgets(store)
        self.rollouts = Rollouts(store)
        self._replicas = Replicas(store)

    def settle(self) -> None:
        for _ in range(_ROUNDS):
            before = self._store.version
            self._collect_garbage()
            self._autoscale()
            self.rollouts.run()
            self._replicas.run()
            self.kubelet.run()
            self.budgets.run()
            if self._store.version == before:
                return
        raise AssertionError("the fake's controllers work against each other")

    def tick(self) -> None:
        self.kubelet.restart_crashed()
        self.settle()

    def _collect_garbage(self) -> None:
        alive = {obj["metadata"]["uid"] for resource in RESOURCES for obj in self._store.all(resource)}
        for resource in (REPLICA_SETS, PODS):
            for obj in self._store.all(resource):
                owner = controller_of(obj)
                if owner is not None and owner["uid"] not in alive:
                    self._store.remove(resource, obj["metadata"]["namespace"], obj["metadata"]["name"])

    def _autoscale(self) -> None:
        """Keeps a workload between the autoscaler's bounds; load plays no part."""
        for autoscaler in self._store.all(AUTOSCALERS):
            spec, target = autoscaler["spec"], autoscaler["spec"]["scaleTargetRef"]
            if target["kind"] not in _SCALED:
                continue
            resource = resource_of_kind(target["kind"])
            workload = self._store.find(resource, autoscaler["metadata"]["namespace"], target["name"])
            if workload is None:
                continue
            current = workload["spec"]["replicas"]
            desired = max(spec.get("minReplicas", 1), min(current, spec["maxReplicas"])) if current else 0
            if desired != current:
                workload["spec"]["replicas"] = desired
                self._store.update(resource, workload)
            autoscaler["status"] = {"currentReplicas": current, "desiredReplicas": desired, "currentMetrics": None}
            self._store.update(AUTOSCALERS, autoscaler)
