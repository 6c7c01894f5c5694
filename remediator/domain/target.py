"""What a fix may touch. Its parts come from labels, so each is checked against what Kubernetes allows."""

import re
from dataclasses import dataclass

from remediator.domain.errors import BadPayload

_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)

WORKLOADS = ("deployment", "statefulset", "daemonset")
TARGET_KINDS = (*WORKLOADS, "pod", "node", "redis", "database")
NAMESPACED = (*WORKLOADS, "pod")


@dataclass(frozen=True, slots=True)
class Target:
    kind: str
    name: str
    namespace: str = ""

    @property
    def key(self) -> str:
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)

    @property
    def plural(self) -> str:
        """As a URL and a role name its kind, where it lies in Kubernetes: `deployments`."""
        return plural_of(self.kind)

    def __str__(self) -> str:
        return self.key


def plural_of(kind: str) -> str:
    return f"{kind}s"


def checked_target(kind: str, name: object, namespace: object = "") -> Target:
    """Raises `BadPayload` where a part is missing, no string, or no Kubernetes name: an empty selector is nothing."""
    if kind not in TARGET_KINDS:
        raise BadPayload(f"{kind!r} is no kind of target; known: {', '.join(TARGET_KINDS)}")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadPayload(f"target {kind}: {name!r} is not a Kubernetes name")
    if kind in NAMESPACED and (not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace)):
        raise BadPayload(f"target {kind} {name}: {namespace!r} is not a namespace name")
    return Target(kind, name, str(namespace) if kind in NAMESPACED else "")
