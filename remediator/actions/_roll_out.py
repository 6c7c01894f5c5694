"""What `restart` and `rollback` have in common: a workload gets another template, and its controller rolls it out."""

import hashlib
from typing import Any

import msgspec

from remediator.clients.kubernetes.reader import workload_path
from remediator.domain.ids import IntentId
from remediator.domain.plan import Call, Observed, Plan
from remediator.domain.target import Target

_GENERATION = "/metadata/generation"


def roll_out(target: Target, patch: list[Any], *, generation: int) -> Call:
    """Refused once anything of the specification has changed since the plan was made."""
    as_of = {_GENERATION: generation}
    return Call(
        "kubernetes",
        "PATCH",
        workload_path(target),
        body=patch,
        content_type="application/json-patch+json",
        as_of=as_of,
    )


def rolled(workload: Any) -> dict[str, object]:
    """What a roll-out is of, and how it goes: whoever approves it approves no other. Not how many pods there are."""
    spec = workload["spec"]
    template = hashlib.sha256(msgspec.json.encode(spec["template"], order="sorted")).hexdigest()[:16]
    strategy = spec.get("strategy") or spec.get("updateStrategy") or {}
    return {"uid": workload["metadata"]["uid"], "template": template, "strategy": strategy}


def seen(mark: object, intent: IntentId, metadata: Any, plan: Plan) -> Observed:
    """Ours is there; or nobody has changed the object since; or we cannot tell."""
    if mark == intent:
        return Observed.DONE
    before = plan.pre_image
    generation = plan.calls[0].as_of.get(_GENERATION, before.get("generation"))
    unchanged = (metadata.get("uid"), metadata.get("generation")) == (before["uid"], generation)
    return Observed.NOT_DONE if unchanged else Observed.UNKNOWN
