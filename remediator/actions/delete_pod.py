"""Replaces failing pods, by eviction where the disruption budget lets us."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from pydantic import Field, field_validator

from remediator.actions import Action
from remediator.clients.kubernetes.objects import Pod
from remediator.clients.kubernetes.reader import is_of_a_budget, namespace_path, to_find_owner, to_read_pods
from remediator.domain.errors import Ambiguous, NotAllowed, NotFound, RemediatorError
from remediator.domain.ids import IntentId
from remediator.domain.incident import Incident
from remediator.domain.plan import Call, NoPlan, Observed, Outcome, Permission, Plan
from remediator.domain.target import WORKLOADS, Target
from remediator.toolbox import Toolbox, WriteToolbox


class DeletePod(Action):
    """Evicts the named pods, so that their controller makes new ones. An unready pod that its disruption budget
    protects is deleted instead: it serves nobody. A ready pod that is protected is left alone, and the last ready ones
    of a workload go only where a person says so. Guards count a pod as its controller's: the next one has another name.
    """

    target_kinds: ClassVar[tuple[str, ...]] = (*WORKLOADS, "pod")

    pods: tuple[str, ...] = ()
    """Names, as in `${{ diagnose.pods.failing_names }}`. None: the target itself where it is a pod, else no pod."""
    at_most: int = Field(default=1, ge=1, le=50)
    """The first so many of them, by name."""

    @field_validator("pods", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return [value] if isinstance(value, str) else value

    def permissions(self, target: Target) -> tuple[Permission, ...]:
        return (
            *to_read_pods(target),
            *(to_find_owner() if target.kind == "pod" else ()),
            Permission("create", "pods/eviction"),
            Permission("delete", "pods"),
        )

    async def plan(self, incident: Incident, tools: Toolbox) -> Plan | NoPlan:
        if incident.target is None:
            return NoPlan("no target")
        of = await _pods_around(incident.target, tools)
        chosen, refused = self._chosen(incident.target, of.own)
        calls: list[Call] = []
        uids: dict[str, object] = {}
        for pod in chosen:
            call = await _way(pod, tools)
            if isinstance(call, str):
                refused.append(call)
            else:
                calls.append(call)
                uids[pod.metadata.name] = pod.metadata.uid
        if not calls:
            return NoPlan("; ".join(refused) or "no pod is named")
        return Plan(
            action=self.yaml_name(),
            target=of.owner,
            summary=f"delete pod {', '.join(uids)} of {of.owner}",
            calls=tuple(calls),
            precondition=", ".join(_precondition(call, uids[_pod_of(call)]) for call in calls),
            pre_image=uids,
            units=len(calls),
            needs_approval=of.why_ask_before(uids),
            health=of.health,
        )

    def _chosen(self, target: Target, pods: Sequence[Pod]) -> tuple[list[Pod], list[str]]:
        """Only pods that are the target's own and are not leaving already. Of a workload none that is over: to delete
        a record helps nobody, and a failing pod would be passed over for it."""
        own = {pod.metadata.name: pod for pod in pods}
        names = self.pods or ([target.name] if target.kind == "pod" else [])
        refused = [f"{name} is no pod of {target}" for name in names if name not in own]
        found = [own[name] for name in sorted(set(names)) if name in own]
        staying = [pod for pod in found if pod.metadata.deletion_timestamp is None]
        if target.kind != "pod":
            refused += [f"{pod.metadata.name} has ended: nothing runs in it" for pod in staying if pod.is_over]
            staying = [pod for pod in staying if not pod.is_over]
        return staying[: self.at_most], refused

    async def run(self, plan: Plan, intent: IntentId, tools: WriteToolbox) -> Outcome:
        """Pod by pod; one refusal does not keep the others, no answer ends it."""
        done: list[str] = []
        refused: list[str] = []
        for call in plan.calls:
            name = _pod_of(call)
            try:
                await tools.kubernetes.send(await _bound(call, tools.look), intent)
                done.append(name)
            except NotFound:
                refused.append(f"{name} was gone already")
            except Ambiguous:
                raise
            except RemediatorError as error:
                refused.append(f"{name}: {error}")
        told = "; ".join((*(f"pod {name} is leaving" for name in done), *refused))
        return Outcome(done=bool(done), detail=told)

    async def observe(self, plan: Plan, intent: IntentId, tools: Toolbox) -> Observed:
        """A pod's uid never comes back: gone is done."""
        for name, uid in plan.pre_image.items():
            try:
                pod = await tools.kubernetes.pod(plan.target.namespace, name)
            except NotFound:
                return Observed.DONE
            if pod.metadata.uid != uid or pod.metadata.deletion_timestamp is not None:
                return Observed.DONE
        return Observed.NOT_DONE


@dataclass(frozen=True, slots=True)
class _Pods:
    own: Sequence[Pod]
    """The target's: of these it may choose."""
    owner: Target
    """The workload, which stays when its pods go: what every guard counts by."""
    owned: Sequence[Pod] | None = None
    """The owner's. None: nobody can tell."""
    desired: int = 0

    @property
    def health(self) -> tuple[int, int] | None:
        return None if self.owned is None else (sum(pod.is_ready for pod in self.owned), self.desired)

    def why_ask_before(self, going: Container[str]) -> str:
        """Empty where another ready pod stays, or none that is ready goes."""
        taken = sorted(pod.metadata.name for pod in self.own if pod.is_ready and pod.metadata.name in going)
        if not taken:
            return ""
        if self.owned is None:
            return f"{', '.join(taken)} is ready, and nobody can tell whether {self.owner} has another"
        staying = any(pod.is_ready and pod.metadata.name not in going for pod in self.owned)
        return "" if staying else f"no ready pod of {self.owner} would be left without {', '.join(taken)}"


async def _pods_around(target: Target, tools: Toolbox) -> _Pods:
    own, owner = None, target
    if target.kind == "pod":
        own = [await tools.kubernetes.pod(target.namespace, target.name)]
        owner = await tools.kubernetes.owner_of(own[0])
        if owner.kind not in WORKLOADS:
            return _Pods(own, owner)
    workload = await tools.kubernetes.workload(owner)
    pods = await tools.kubernetes.pods_of(workload)
    return _Pods(own or pods, owner, pods, workload.desired)


def _precondition(call: Call, uid: object) -> str:
    return f"{_pod_of(call)} is still pod {uid}" + (" and unready" if call.method == "DELETE" else "")


async def _way(pod: Pod, tools: Toolbox) -> Call | str:
    """How this pod can go, or why it must stay."""
    if pod.metadata.controller is None:
        return f"{pod.metadata.name} has no controller: nothing would replace it"
    eviction = _eviction(pod)
    answer = await tools.kubernetes.rehearse(eviction)
    if answer.accepted:
        return eviction
    return _deletion(pod) if is_of_a_budget(answer) and not pod.is_ready else answer.detail


async def _bound(call: Call, look: Toolbox) -> Call:
    """A deletion goes past the budget because its pod is unready, so it is bound to the pod as it is seen now: the
    server refuses it where anything changed since. The plan cannot say so: an unready pod changes every few minutes,
    and an approval would be for a plan that is no more. Raises `NotAllowed` for a pod that is ready."""
    if call.method != "DELETE":
        return call
    pod = await look.kubernetes.pod(_namespace_of(call), _pod_of(call))
    if pod.is_ready:
        raise NotAllowed("has become ready, it is left alone")
    given: Any = call.body
    preconditions = {**given["preconditions"], "resourceVersion": pod.metadata.resource_version}
    return replace(call, body={**given, "preconditions": preconditions})


def _eviction(pod: Pod) -> Call:
    return Call(
        "kubernetes",
        "POST",
        f"{_path(pod)}/eviction",
        body={
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.metadata.name, "namespace": pod.metadata.namespace},
            "deleteOptions": {"preconditions": {"uid": pod.metadata.uid}},
        },
    )


def _deletion(pod: Pod) -> Call:
    return Call(
        "kubernetes",
        "DELETE",
        _path(pod),
        body={"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": pod.metadata.uid}},
    )


def _path(pod: Pod) -> str:
    return f"{namespace_path('/api/v1', pod.metadata.namespace)}/pods/{pod.metadata.name}"


def _pod_of(call: Call) -> str:
    """By the path, as `_path` has made it: the journal does not keep the order of an image's keys."""
    return call.resource.split("/")[6]


def _namespace_of(call: Call) -> str:
    return call.resource.split("/")[4]
