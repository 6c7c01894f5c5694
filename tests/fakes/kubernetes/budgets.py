"""Disruption budgets and evictions: how many pods a budget can spare now, and what an eviction is told."""

from . import refusals
from .kubelet import is_ready
from .resources import BUDGETS, PODS, REPLICA_SETS, STATEFUL_SETS, Object, controller_of
from .rollouts import share
from .selectors import selects
from .store import Store


class Budgets:
    def __init__(self, store: Store) -> None:
        self._store = store
        self.are_held = False
        """The controller is behind: what changes now is not looked at until it catches up."""

    def run(self) -> None:
        if self.are_held:
            return
        for budget in self._store.all(BUDGETS):
            budget["status"] = self._count(budget)
            self._store.update(BUDGETS, budget)

    def check(self, pod: Object) -> None:
        """Raises what an eviction of this pod is refused with."""
        if pod["status"].get("phase") in {"Succeeded", "Failed", "Pending"}:
            return
        budgets = [b for b in self._store.all(BUDGETS, pod["metadata"]["namespace"]) if _covers(b, pod)]
        if len(budgets) > 1:
            raise refusals.two_budgets()
        for budget in budgets:
            _check_budget(budget, pod)

    def _count(self, budget: Object) -> Object:
        pods = [pod for pod in self._store.all(PODS, budget["metadata"]["namespace"]) if _covers(budget, pod)]
        expected, desired = self._demand(budget["spec"], pods)
        healthy = sum(map(is_ready, pods))
        allowed = max(0, healthy - desired) if expected else 0
        condition = {
            "type": "DisruptionAllowed",
            "status": "True" if allowed else "False",
            "reason": "SufficientPods" if allowed else "InsufficientPods",
            "message": "",
            "observedGeneration": budget["metadata"]["generation"],
            "lastTransitionTime": budget["metadata"]["creationTimestamp"],
        }
        return {
            "observedGeneration": budget["metadata"]["generation"],
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "conditions": [condition],
        }

    def _demand(self, spec: Object, pods: list[Object]) -> tuple[int, int]:
        """How many pods there should be, and how many of them healthy."""
        if isinstance(spec.get("minAvailable"), int):
            return len(pods), spec["minAvailable"]
        expected = self._scale(pods)
        if "maxUnavailable" in spec:
            return expected, max(0, expected - share(spec["maxUnavailable"], expected, round_up=True))
        return expected, share(spec.get("minAvailable", 1), expected, round_up=True)

    def _scale(self, pods: list[Object]) -> int:
        """What the owners of these pods ask for, as a budget in percent is counted against that."""
        owners = {(o["kind"], o["name"]): pod for pod in pods if (o := controller_of(pod)) is not None}
        total = 0
        for (kind, name), pod in owners.items():
            resource = {"ReplicaSet": REPLICA_SETS, "StatefulSet": STATEFUL_SETS}.get(kind)
            owner = self._store.find(resource, pod["metadata"]["namespace"], name) if resource else None
            total += owner["spec"]["replicas"] if owner else 0
        return total


def _covers(budget: Object, pod: Object) -> bool:
    return selects(budget["spec"].get("selector"), pod["metadata"].get("labels") or {})


def _check_budget(budget: Object, pod: Object) -> None:
    name, status = budget["metadata"]["name"], budget["status"]
    if status.get("observedGeneration", 0) < budget["metadata"]["generation"]:
        cause = f"The disruption budget {name} is still being processed by the server."
        raise refusals.budget_exhausted(cause, retry_after=10)
    healthy, desired = status["currentHealthy"], status["desiredHealthy"]
    if not is_ready(pod):
        always = budget["spec"].get("unhealthyPodEvictionPolicy") == "AlwaysAllow"
        if always or healthy >= desired > 0:
            return
    if status["disruptionsAllowed"] == 0:
        raise refusals.budget_exhausted(
            f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
        )
