"""The parts of Kubernetes objects that we read, and nothing more: msgspec skips the rest at C speed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from math import ceil

import msgspec
from msgspec import field

REVISION_ANNOTATION = "deployment.kubernetes.io/revision"


class Struct(msgspec.Struct, frozen=True, rename="camel"):
    """Every field has a default: an API server leaves out what is empty."""


class Owner(Struct, frozen=True):
    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class Metadata(Struct, frozen=True):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    owner_references: list[Owner] = field(default_factory=list)

    @property
    def controller(self) -> Owner | None:
        return next((owner for owner in self.owner_references if owner.controller), None)


class FieldOwner(Struct, frozen=True):
    """Whoever set the fields that it names, under `fieldsV1`, as `f:spec`, `f:replicas` and so on."""

    manager: str = ""
    fields: Mapping[str, Mapping[str, object]] = field(default_factory=dict, name="fieldsV1")


class WorkloadMetadata(Metadata, frozen=True):
    managed_fields: list[FieldOwner] = field(default_factory=list)


class Selector(Struct, frozen=True):
    match_labels: Mapping[str, str] = field(default_factory=dict)
    match_expressions: list[Mapping[str, object]] = field(default_factory=list)


class Resources(Struct, frozen=True):
    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)


class ContainerSpec(Struct, frozen=True):
    name: str = ""
    image: str = ""
    resources: Resources = Resources()


class PodSpec(Struct, frozen=True):
    containers: list[ContainerSpec] = field(default_factory=list)


class Terminated(Struct, frozen=True):
    reason: str = ""


class Waiting(Struct, frozen=True):
    reason: str = ""
    message: str = ""


class ContainerState(Struct, frozen=True):
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(Struct, frozen=True):
    name: str = ""
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class PodCondition(Struct, frozen=True):
    type: str = ""
    status: str = ""


class PodStatus(Struct, frozen=True):
    phase: str = ""
    reason: str = ""
    conditions: list[PodCondition] = field(default_factory=list)
    container_statuses: list[ContainerStatus] = field(default_factory=list)


class Pod(Struct, frozen=True):
    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def is_ready(self) -> bool:
        if self.metadata.deletion_timestamp is not None:
            return False
        return any(c.type == "Ready" and c.status == "True" for c in self.status.conditions)

    @property
    def is_over(self) -> bool:
        """What is left of one that ended, or was evicted by its node: a record, whose place another has taken."""
        return self.status.phase in {"Succeeded", "Failed"}


class PodTemplate(Struct, frozen=True):
    metadata: Metadata = Metadata()
    spec: PodSpec = PodSpec()


class RollingUpdate(Struct, frozen=True):
    max_unavailable: int | str | None = None
    """A number, or a share such as `25%`. None: as its kind has it."""
    partition: int | None = None
    """A StatefulSet's: its first so many pods keep the template they have."""


class Strategy(Struct, frozen=True):
    type: str = ""
    rolling_update: RollingUpdate | None = None

    @property
    def pace(self) -> RollingUpdate:
        return self.rolling_update or RollingUpdate()


class WorkloadSpec(Struct, frozen=True):
    replicas: int = 1
    selector: Selector = Selector()
    template: PodTemplate = PodTemplate()
    strategy: Strategy = Strategy()
    """A Deployment's."""
    update_strategy: Strategy = Strategy()
    """A StatefulSet's or DaemonSet's; it has none that takes all pods at once."""


class WorkloadStatus(Struct, frozen=True):
    """Deployments and StatefulSets count replicas, DaemonSets count nodes."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    desired_number_scheduled: int = 0
    updated_number_scheduled: int = 0
    number_ready: int = 0
    number_available: int = 0


class Workload(Struct, frozen=True):
    """A Deployment, StatefulSet, DaemonSet or ReplicaSet."""

    kind: str = ""
    metadata: WorkloadMetadata = WorkloadMetadata()
    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()

    @property
    def desired(self) -> int:
        """How many pods it asks for."""
        return self.status.desired_number_scheduled if self.kind == "daemonset" else self.spec.replicas

    @property
    def recreates(self) -> bool:
        """Whether a roll-out ends all pods before it starts a new one."""
        return self.spec.strategy.type == "Recreate"

    @property
    def rolls_when_deleted(self) -> bool:
        """Whether a pod gets a newer template only once somebody deletes it."""
        return self.spec.update_strategy.type == "OnDelete"

    @property
    def rolled(self) -> int:
        """How many of the desired pods a roll-out reaches, by itself."""
        if self.rolls_when_deleted:
            return 0
        return max(self.desired - (self.spec.update_strategy.pace.partition or 0), 0)

    @property
    def disturbed_by_roll_out(self) -> int:
        """How many pods are away at once; one at least: each of them goes, though another may have come before."""
        if self.recreates:
            return max(self.desired, 1)
        return max(min(self._most_unavailable, self.rolled), 1)

    @property
    def _most_unavailable(self) -> int:
        """A share is rounded as the controller of its kind does: of a DaemonSet up, of all others down."""
        is_deployment = self.kind == "deployment"
        strategy = self.spec.strategy if is_deployment else self.spec.update_strategy
        given = strategy.pace.max_unavailable
        if given is None:
            given = "25%" if is_deployment else 1
        if isinstance(given, int):
            return given
        hundredths = self.desired * int(given.removesuffix("%"))
        return ceil(hundredths / 100) if self.kind == "daemonset" else hundredths // 100

    @property
    def revision(self) -> int:
        """Of a ReplicaSet, as its Deployment counts; of a Deployment, its newest; 0 where it says none."""
        text = self.metadata.annotations.get(REVISION_ANNOTATION, "0")
        return int(text) if text.isascii() and text.isdecimal() else 0

    @property
    def scaled_by(self) -> str:
        """The field manager of whoever set the replicas to what they are; empty where the API server does not say.
        To set them to what they are is no change (tests/contract/test_managed_fields.py)."""
        owners = (owner for owner in self.metadata.managed_fields if "f:replicas" in owner.fields.get("f:spec", {}))
        return next((owner.manager for owner in owners), "")

    @property
    def images(self) -> str:
        return ", ".join(container.image for container in self.spec.template.spec.containers)


def newest_first(replica_sets: Sequence[Workload]) -> list[Workload]:
    """By revision: the present one, the one before it, and so on."""
    return sorted(replica_sets, key=lambda replica_set: replica_set.revision, reverse=True)


def has_newer_roll_out(deployment: Workload, replica_sets: Sequence[Workload]) -> bool:
    """Whether its controller has not made the newest revision's ReplicaSet yet: then the first of `newest_first` is the
    one before it. Also where the Deployment was read before one of them was made."""
    is_seen = deployment.status.observed_generation >= deployment.metadata.generation
    newest = max((replica_set.revision for replica_set in replica_sets), default=0)
    return not is_seen or deployment.revision != newest


class Event(Struct, frozen=True):
    metadata: Metadata = Metadata()
    reason: str = ""
    message: str = ""
    type: str = ""
    count: int | None = 1
    last_timestamp: datetime | None = None
    event_time: datetime | None = None
    involved_object: Owner = Owner()


class Usage(Struct, frozen=True):
    cpu: str = ""
    memory: str = ""


class ContainerUsage(Struct, frozen=True):
    name: str = ""
    usage: Usage = Usage()


class PodMetrics(Struct, frozen=True):
    metadata: Metadata = Metadata()
    containers: list[ContainerUsage] = field(default_factory=list)


class ScaleTargetRef(Struct, frozen=True):
    kind: str = ""
    name: str = ""


class HpaSpec(Struct, frozen=True):
    scale_target_ref: ScaleTargetRef = ScaleTargetRef()


class Hpa(Struct, frozen=True):
    metadata: Metadata = Metadata()
    spec: HpaSpec = HpaSpec()
