"""The Deployment controller: a ReplicaSet for each pod template, revisions, and rolling from one to the next."""

from copy import deepcopy
from datetime import datetime, timedelta
from hashlib import sha256
from json import dumps
from math import ceil
from typing import Any

from .resources import DEPLOYMENTS, REPLICA_SETS, Object, is_owned_by
from .store import Store

REVISION = "deployment.kubernetes.io/revision"
_HASH = "pod-template-hash"
_NOT_COPIED = {REVISION, "kubectl.kubernetes.io/last-applied-configuration"}
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


class Rollouts:
    def __init__(self, store: Store) -> None:
        self._store = store
        self.are_held = False
        """The controller is behind: it has not seen what changes now."""

    def run(self) -> None:
        if self.are_held:
            return
        for deployment in self._store.all(DEPLOYMENTS):
            sets = [s for s in self._store.all(REPLICA_SETS) if is_owned_by(s, deployment)]
            sets.sort(key=revision)
            self._roll(deployment, sets)

    def _roll(self, deployment: Object, sets: list[Object]) -> None:
        newest = next((s for s in sets if _same_template(s, deployment)), None)
        if not deployment["spec"].get("paused"):
            newest = self._newest(deployment, newest, sets)
            old = [s for s in sets if s["metadata"]["uid"] != newest["metadata"]["uid"]]
            if deployment["spec"]["strategy"]["type"] == "Recreate":
                self._recreate(deployment, newest, old)
            else:
                self._step(deployment, newest, old)
            self._forget_history(deployment, old)
        elif active := [s for s in sets if s["spec"]["replicas"]] or sets[-1:]:
            self._resize(active[-1], deployment["spec"]["replicas"])
        self._report(deployment["metadata"]["namespace"], deployment["metadata"]["name"], newest)

    def _newest(self, deployment: Object, newest: Object | None, sets: list[Object]) -> Object:
        """The ReplicaSet of the current template, made or brought back as the highest revision."""
        highest = max((revision(s) for s in sets), default=0)
        if newest is None:
            newest = self._store.create(REPLICA_SETS, _replica_set(deployment, highest + 1))
        elif revision(newest) < highest:
            newest["metadata"]["annotations"][REVISION] = str(highest + 1)
            newest = self._store.update(REPLICA_SETS, newest)
        current = deployment["metadata"].get("annotations") or {}
        wanted = newest["metadata"]["annotations"][REVISION]
        if current.get(REVISION) != wanted:
            deployment["metadata"]["annotations"] = {**current, REVISION: wanted}
            deployment |= self._store.update(DEPLOYMENTS, deployment)
        return newest

    def _recreate(self, deployment: Object, newest: Object, old: list[Object]) -> None:
        for replica_set in old:
            self._resize(replica_set, 0)
        if all(not replica_set["status"].get("replicas") for replica_set in old):
            self._resize(newest, deployment["spec"]["replicas"])

    def _step(self, deployment: Object, newest: Object, old: list[Object]) -> None:
        """One pass of the rolling update, in the order of the real controller: grow, or else shrink what is old."""
        wanted = deployment["spec"]["replicas"]
        surge, unavailable = _pace(deployment)
        has, total = newest["spec"]["replicas"], sum(s["spec"]["replicas"] for s in [newest, *old])
        if has > wanted:
            self._resize(newest, wanted)
        elif has < wanted and (room := wanted + surge - total) > 0:
            self._resize(newest, min(wanted, has + room))
        else:
            self._shrink(newest, old, total=total, at_least=wanted - unavailable)

    def _shrink(self, newest: Object, old: list[Object], *, total: int, at_least: int) -> None:
        still_coming = newest["spec"]["replicas"] - newest["status"].get("availableReplicas", 0)
        spare = total - at_least - still_coming
        for replica_set in old:
            broken = replica_set["spec"]["replicas"] - replica_set["status"].get("availableReplicas", 0)
            taken = max(0, min(spare, broken))
            self._resize(replica_set, replica_set["spec"]["replicas"] - taken)
            spare -= taken
        available = sum(s["status"].get("availableReplicas", 0) for s in [newest, *old])
        spare = min(spare, available - at_least)
        for replica_set in old:
            taken = max(0, min(spare, replica_set["spec"]["replicas"]))
            self._resize(replica_set, replica_set["spec"]["replicas"] - taken)
            spare -= taken

    def _resize(self, replica_set: Object, replicas: int) -> None:
        if replica_set["spec"]["replicas"] != replicas:
            replica_set["spec"]["replicas"] = replicas
            replica_set |= self._store.update(REPLICA_SETS, replica_set)

    def _forget_history(self, deployment: Object, old: list[Object]) -> None:
        idle = [s for s in old if not s["spec"]["replicas"] and not s["status"].get("replicas")]
        surplus = len(idle) - deployment["spec"]["revisionHistoryLimit"]
        for replica_set in idle[: max(0, surplus)]:
            self._store.remove(REPLICA_SETS, replica_set["metadata"]["namespace"], replica_set["metadata"]["name"])

    def _report(self, namespace: str, name: str, newest: Object | None) -> None:
        deployment = self._store.get(DEPLOYMENTS, namespace, name)
        sets = [s for s in self._store.all(REPLICA_SETS, namespace) if is_owned_by(s, deployment)]
        newest_uid = newest["metadata"]["uid"] if newest else ""
        updated = [s for s in sets if s["metadata"]["uid"] == newest_uid]
        wanted, available = deployment["spec"]["replicas"], _sum(sets, "availableReplicas")
        counts = {
            "replicas": _sum(sets, "replicas"),
            "updatedReplicas": _sum(updated, "replicas"),
            "readyReplicas": _sum(sets, "readyReplicas"),
            "availableReplicas": available,
            "unavailableReplicas": max(0, max(wanted, _sum(sets, "replicas")) - available),
        }
        is_available = available >= wanted - _pace(deployment)[1]
        is_done = counts["updatedReplicas"] == counts["replicas"] == available == wanted
        conditions = [self._available(deployment, is_available), self._progressing(deployment, counts, is_done)]
        deployment["status"] = {
            "observedGeneration": deployment["metadata"]["generation"],
            **{key: value for key, value in counts.items() if value},
            "conditions": conditions,
        }
        self._store.update(DEPLOYMENTS, deployment)

    def _available(self, deployment: Object, holds: bool) -> Object:
        reason = "MinimumReplicasAvailable" if holds else "MinimumReplicasUnavailable"
        has = "has" if holds else "does not have"
        condition = {"status": str(holds), "reason": reason, "message": f"Deployment {has} minimum availability."}
        return self._stamped("Available", condition, deployment)

    def _progressing(self, deployment: Object, counts: dict[str, int], is_done: bool) -> Object:
        name = deployment["metadata"]["name"]
        before = _condition_of(deployment, "Progressing")
        moved = {key: deployment["status"].get(key, 0) for key in counts} != counts
        if is_done:
            condition = {"status": "True", "reason": "NewReplicaSetAvailable", "message": f'"{name}" has progressed.'}
        elif self._keeps_saying(before, deployment, counts, moved=moved):
            return before
        elif before and not moved and self._is_late(deployment, before):
            message = f'Deployment "{name}" has timed out progressing.'
            condition = {"status": "False", "reason": "ProgressDeadlineExceeded", "message": message}
        else:
            condition = {"status": "True", "reason": "ReplicaSetUpdated", "message": f'"{name}" is progressing.'}
            news = {"lastUpdateTime": self._store.now()} if moved else {}
            return self._stamped("Progressing", condition, deployment) | news
        return self._stamped("Progressing", condition, deployment)

    def _keeps_saying(self, before: Object, deployment: Object, counts: dict[str, int], *, moved: bool) -> bool:
        """A finished rollout stays finished whatever its pods do later; one that is late stays so until it moves."""
        match before.get("reason"):
            case "NewReplicaSetAvailable":
                return bool(deployment["status"].get("updatedReplicas", 0) == counts["updatedReplicas"])
            case "ProgressDeadlineExceeded":
                return not moved
            case _:
                return False

    def _is_late(self, deployment: Object, progressing: Object) -> bool:
        allowed = timedelta(seconds=deployment["spec"]["progressDeadlineSeconds"])
        return self._store.clock() - datetime.fromisoformat(progressing["lastUpdateTime"]) > allowed

    def _stamped(self, type_: str, condition: Object, deployment: Object) -> Object:
        """A condition keeps its times as long as it says the same."""
        before, now = _condition_of(deployment, type_), self._store.now()
        said_before = {key: before.get(key) for key in condition} == condition
        turned = before.get("lastTransitionTime", now) if before.get("status") == condition["status"] else now
        updated = before["lastUpdateTime"] if said_before else now
        return {"type": type_, **condition, "lastUpdateTime": updated, "lastTransitionTime": turned}


def revision(obj: Object) -> int:
    return int((obj["metadata"].get("annotations") or {}).get(REVISION, 0))


def short_hash(value: Any, length: int) -> str:
    number = int.from_bytes(sha256(dumps(value, sort_keys=True).encode()).digest())
    letters = []
    for _ in range(length):
        number, index = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[index])
    return "".join(letters)


def _replica_set(deployment: Object, number: int) -> Object:
    metadata, spec = deployment["metadata"], deployment["spec"]
    template = deepcopy(spec["template"])
    digest = short_hash(template, 10)
    labels = {**template["metadata"].get("labels", {}), _HASH: digest}
    template["metadata"]["labels"] = labels
    annotations = {k: v for k, v in (metadata.get("annotations") or {}).items() if k not in _NOT_COPIED}
    selector = deepcopy(spec["selector"])
    selector["matchLabels"] = {**selector.get("matchLabels", {}), _HASH: digest}
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": f"{metadata['name']}-{digest}",
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": {**annotations, REVISION: str(number)},
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {"replicas": 0, "selector": selector, "template": template},
        "status": {"replicas": 0},
    }


def owner_reference(owner: Object) -> Object:
    metadata = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _same_template(replica_set: Object, deployment: Object) -> bool:
    template = deepcopy(replica_set["spec"]["template"])
    template["metadata"]["labels"].pop(_HASH, None)
    return bool(template == deployment["spec"]["template"])


def _pace(deployment: Object) -> tuple[int, int]:
    """How many pods a rollout may have too many and too few."""
    strategy, wanted = deployment["spec"]["strategy"], deployment["spec"]["replicas"]
    if strategy["type"] == "Recreate":
        return 0, 0
    surge = share(strategy["rollingUpdate"]["maxSurge"], wanted, round_up=True)
    unavailable = share(strategy["rollingUpdate"]["maxUnavailable"], wanted, round_up=False)
    return surge, unavailable if surge or unavailable else 1


def share(amount: int | str, whole: int, *, round_up: bool) -> int:
    """An int-or-percentage of a whole."""
    if isinstance(amount, int):
        return amount
    exact = whole * int(amount.removesuffix("%")) / 100
    return ceil(exact) if round_up else int(exact)


def _sum(sets: list[Object], field: str) -> int:
    return sum(replica_set["status"].get(field, 0) for replica_set in sets)


def _condition_of(obj: Object, type_: str) -> Object:
    conditions = obj.get("status", {}).get("conditions", ())
    return next((dict(condition) for condition in conditions if condition["type"] == type_), {})
