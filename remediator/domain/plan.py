"""What a fix would do, as data: it can be shown, hashed, rehearsed, approved, journalled and recognised later."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from enum import StrEnum

import msgspec

from remediator.domain.target import Target

Fence = Callable[[], None]
"""Asked by a writer at the last moment before each write. Raises `NotAllowed` once it is no longer ours to make, or
`Ambiguous` where some of it is made already."""


def unfenced() -> None:
    """Where nobody else could have taken over."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to another system."""

    system: str
    """`kubernetes`, or a connection such as `redis:cache`."""
    method: str
    """An HTTP method, or the command (`UNLINK`)."""
    resource: str
    """A URL path, or a key pattern."""
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, object] | list[Mapping[str, object]] | None = None
    """A list is a JSON patch."""
    content_type: str = "application/json"
    as_of: Mapping[str, object] = field(default_factory=dict)
    """Of a JSON patch: what each of these paths must hold when it arrives, as it did when the plan was made. It is no
    part of what is approved: an autoscaler changes a generation every minute, and nobody's mind."""

    @property
    def payload(self) -> Mapping[str, object] | list[Mapping[str, object]] | None:
        """The body as it is sent."""
        if not isinstance(self.body, list):
            return self.body
        tests: list[Mapping[str, object]] = [
            {"op": "test", "path": path, "value": value} for path, value in self.as_of.items()
        ]
        return [*tests, *self.body]

    def __str__(self) -> str:
        return f"{self.method} {self.resource}"


class Unit(StrEnum):
    """What a plan disturbs. One is not as bad as the other, so nobody has to add them up."""

    PODS = "pods"
    KEYS = "keys"


@dataclass(frozen=True, slots=True)
class Plan:
    action: str
    target: Target
    summary: str
    """For people: "scale deployment backend from 3 to 5 replicas"."""
    calls: tuple[Call, ...]
    precondition: str
    """For people: what must still be true when the write arrives: "pod uid 1f3c is the one diagnosed"."""
    pre_image: Mapping[str, object] = field(default_factory=dict)
    post_image: Mapping[str, object] = field(default_factory=dict)
    units: int = 1
    """How many it disturbs at most: what blast-radius budgets count."""
    unit: Unit = Unit.PODS
    undo_after: timedelta | None = None
    parameters: Mapping[str, object] = field(default_factory=dict)
    """The action's own fields as JSON, so that after a crash it is revived from the journal, not from today's rule."""
    needs_approval: str = ""
    """A reason why this plan wants a person whatever the rule says ("the only ready replica")."""
    health: tuple[int, int] | None = None
    """(ready, desired) pods of its target, where the action has counted them."""

    @property
    def digest(self) -> str:
        """What an approval is bound to: the same calls against the same state, for as long.

        Not the parameters: they may hold more than came to be calls (names of pods beyond `at_most`), and what `run`
        goes by stands in the calls. Nor how new the world must be for them: that is asked of each plan's own moment.
        """
        calls = [{name: part for name, part in _parts(call).items() if name != "as_of"} for call in self.calls]
        covered: tuple[object, ...] = (
            self.action,
            self.target,
            calls,
            self.pre_image,
            self.post_image,
            self.undo_after,
        )
        if self.needs_approval:  # whoever approved it while others were ready has not approved this
            covered = (*covered, self.needs_approval)
        document = msgspec.json.encode(covered, order="sorted")
        return hashlib.sha256(document).hexdigest()[:16]


def _parts(call: Call) -> dict[str, object]:
    return {each.name: getattr(call, each.name) for each in fields(call)}


@dataclass(frozen=True, slots=True)
class NoPlan:
    """The action looked and found nothing it may do."""

    reason: str


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What the other system said to the plan with `dryRun=All` (or its nearest equal)."""

    accepted: bool
    detail: str


class Observed(StrEnum):
    """What the world shows of a write whose result we never saw."""

    DONE = "done"
    NOT_DONE = "not_done"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Outcome:
    done: bool
    detail: str


_READS = frozenset({"get", "list", "watch"})


@dataclass(frozen=True, slots=True)
class Permission:
    """One Kubernetes permission, in the terms of a Role rule."""

    verb: str
    resource: str
    """With the subresource: `pods/eviction`."""
    api_group: str = ""

    @property
    def writes(self) -> bool:
        return self.verb not in _READS
