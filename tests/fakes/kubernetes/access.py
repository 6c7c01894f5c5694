"""Permissions: everything is allowed but what a test denies, and the review that lets a client ask beforehand."""

from dataclasses import dataclass, field

from .refusals import Refused
from .requests import Address
from .resources import Object

USER = "system:serviceaccount:remediator:remediator"


@dataclass(frozen=True, slots=True)
class Denial:
    verb: str
    resource: str
    """Plural, with its subresource: `pods/eviction`; `*` for all."""
    namespace: str | None = None

    def covers(self, verb: str, resource: str, namespace: str) -> bool:
        return self.verb in {"*", verb} and self.resource in {"*", resource} and self.namespace in {None, namespace}


@dataclass(slots=True)
class Access:
    denials: list[Denial] = field(default_factory=list)

    def allows(self, verb: str, resource: str, namespace: str) -> bool:
        return not any(denial.covers(verb, resource, namespace) for denial in self.denials)

    def check(self, verb: str, address: Address) -> None:
        self.check_named(
            verb,
            f"{address.resource.plural}/{address.subresource}".rstrip("/"),
            group=address.resource.group,
            namespace=address.namespace,
            name=address.name,
        )

    def check_named(self, verb: str, resource: str, *, group: str, namespace: str, name: str) -> None:
        if self.allows(verb, resource, namespace):
            return
        plural = resource.partition("/")[0]
        qualified = f"{plural}.{group}" if group else plural
        subject = f'{qualified} "{name}"' if name else qualified
        where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
        message = (
            f'{subject} is forbidden: User "{USER}" cannot {verb} resource "{resource}" in API group "{group}" {where}'
        )
        details: Object = {"name": name} if name else {}
        details |= {"group": group} if group else {}
        raise Refused(403, message, reason="Forbidden", details={**details, "kind": plural})

    def review(self, body: Object) -> Object:
        """A SelfSubjectAccessReview, answered."""
        asked = body.get("spec", {}).get("resourceAttributes") or {}
        resource = "/".join(filter(None, (asked.get("resource", "*"), asked.get("subresource", ""))))
        allowed = self.allows(asked.get("verb", "*"), resource, asked.get("namespace", ""))
        return {
            "kind": "SelfSubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": {},
            "spec": body.get("spec", {}),
            "status": {"allowed": allowed},
        }
