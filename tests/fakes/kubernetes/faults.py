"""Which workload, image or single pod fails, in which way, and how that looks in a pod's status."""

from dataclasses import dataclass, field
from enum import StrEnum

from .resources import Object


class Fault(StrEnum):
    """Named after what `kubectl get pods` would show."""

    CRASHING = "CrashLoopBackOff"
    OUT_OF_MEMORY = "OOMKilled"
    IMAGE_MISSING = "ImagePullBackOff"
    BAD_CONFIG = "CreateContainerConfigError"
    NOT_READY = "NotReady"
    UNSCHEDULABLE = "Unschedulable"
    EVICTED = "Evicted"
    """By its node: what is left is a record."""


@dataclass(slots=True)
class Faults:
    """Most specific first: a pod's own fault, then its workload's, then that of an image it runs."""

    pods: dict[str, Fault] = field(default_factory=dict)
    """By uid, so that a replacement is healthy even under the same name."""
    workloads: dict[tuple[str, str], Fault] = field(default_factory=dict)
    images: dict[str, Fault] = field(default_factory=dict)

    def of(self, pod: Object, workload: str) -> Fault | None:
        metadata = pod["metadata"]
        by_image = (self.images.get(container.get("image", "")) for container in pod["spec"]["containers"])
        return (
            self.pods.get(metadata["uid"])
            or self.workloads.get((metadata["namespace"], workload))
            or next(filter(None, by_image), None)
        )


@dataclass(frozen=True, slots=True)
class Look:
    """One container's part of the status."""

    state: Object
    last_state: Object = field(default_factory=dict)
    restarts: int = 0
    is_ready: bool = False

    @property
    def is_started(self) -> bool:
        return "running" in self.state


_PULL_MESSAGE = 'Back-off pulling image "{image}": ErrImagePull: not found'
_CRASH_MESSAGE = "back-off 40s restarting failed container={name} pod={pod}"


def look_of(fault: Fault | None, *, container: Object, pod: str, now: str) -> Look:
    match fault:
        case None:
            return Look({"running": {"startedAt": now}}, is_ready=True)
        case Fault.NOT_READY:
            return Look({"running": {"startedAt": now}})
        case Fault.CRASHING | Fault.OUT_OF_MEMORY:
            is_memory = fault is Fault.OUT_OF_MEMORY
            ended: Object = {"reason": "OOMKilled" if is_memory else "Error", "exitCode": 137 if is_memory else 1}
            ended |= {"startedAt": now, "finishedAt": now, "containerID": f"containerd://{pod}-{container['name']}"}
            message = _CRASH_MESSAGE.format(name=container["name"], pod=pod)
            waiting = {"waiting": {"reason": "CrashLoopBackOff", "message": message}}
            return Look(waiting, last_state={"terminated": ended}, restarts=5)
        case Fault.IMAGE_MISSING:
            message = _PULL_MESSAGE.format(image=container.get("image", ""))
            return Look({"waiting": {"reason": "ImagePullBackOff", "message": message}})
        case Fault.BAD_CONFIG:
            message = 'configmap "settings" not found'
            return Look({"waiting": {"reason": "CreateContainerConfigError", "message": message}})
        case Fault.UNSCHEDULABLE | Fault.EVICTED:
            return Look({})


EVENT_OF: dict[Fault, tuple[str, str]] = {
    Fault.CRASHING: ("BackOff", "Back-off restarting failed container"),
    Fault.OUT_OF_MEMORY: ("BackOff", "Back-off restarting failed container"),
    Fault.IMAGE_MISSING: ("Failed", "Error: ImagePullBackOff"),
    Fault.BAD_CONFIG: ("Failed", 'Error: configmap "settings" not found'),
    Fault.NOT_READY: ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503"),
    Fault.EVICTED: ("Evicted", "The node was low on resource: memory."),
    Fault.UNSCHEDULABLE: ("FailedScheduling", "0/3 nodes are available: 3 Insufficient memory."),
}
"""The reason and message of the Warning that the kubelet or the scheduler writes once for each pod."""
