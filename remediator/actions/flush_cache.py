"""Removes the keys of a cache that match a pattern, a batch at a time, without ever blocking the server."""

from typing import Annotated, Any, ClassVar

from pydantic import Field, field_validator

from remediator.actions import Action
from remediator.domain.errors import Ambiguous, RemediatorError
from remediator.domain.ids import IntentId
from remediator.domain.incident import Incident
from remediator.domain.plan import Call, NoPlan, Observed, Outcome, Permission, Plan, Rehearsal, Unit
from remediator.domain.target import Target
from remediator.language.text_kind import RedisPattern
from remediator.toolbox import Toolbox, WriteToolbox

_BATCH = 500


class FlushCache(Action):
    """Finds keys with SCAN and frees them with UNLINK, at most so many. Never FLUSHDB, never KEYS, never every key."""

    target_kinds: ClassVar[tuple[str, ...]] = ("redis", "deployment", "statefulset", "daemonset", "pod")

    connection: str = Field(min_length=1)
    """The name of a Redis connection in the settings."""
    pattern: Annotated[str, RedisPattern()] = Field(min_length=2, max_length=256)
    """A SCAN pattern that begins with a fixed prefix: `cache:feed:*`. What `${{ }}` gives is literal in it."""
    at_most: int = Field(default=10_000, ge=1, le=1_000_000)
    """Keys; what is left is left."""

    @field_validator("pattern")
    @classmethod
    def _has_a_prefix(cls, pattern: str) -> str:
        if pattern[0] in "*?[\\":
            raise ValueError("must begin with a fixed prefix: a pattern for every key would flush the whole cache")
        return pattern

    def permissions(self, target: Target) -> tuple[Permission, ...]:
        return ()

    async def plan(self, incident: Incident, tools: Toolbox) -> Plan | NoPlan:
        if incident.target is None:
            return NoPlan("no target")
        found = len(await tools.redis(self.connection).keys(self.pattern, at_most=self.at_most))
        if not found:
            return NoPlan(f"no key in {self.connection} matches {self.pattern}")
        bound = min(_rounded_up(found), self.at_most)
        return Plan(
            action=self.yaml_name(),
            target=incident.target,
            summary=f"unlink at most {bound} keys {self.pattern} in {self.connection} ({found} were found)",
            calls=(Call(f"redis:{self.connection}", "UNLINK", self.pattern, body={"at_most": bound}),),
            precondition=f"only keys that match {self.pattern}, at most {bound}",
            units=bound,
            unit=Unit.KEYS,
        )

    async def rehearse(self, plan: Plan, tools: Toolbox) -> Rehearsal:
        """A cache has no dry run. That it answers is known: the plan has counted its keys a moment ago."""
        return Rehearsal(accepted=True, detail=f"{self.connection} answers; its keys were counted, none was touched")

    async def run(self, plan: Plan, intent: IntentId, tools: WriteToolbox) -> Outcome:
        """What broke off after some keys did happen: as failed it would be told as if nothing had gone."""
        keys = await tools.look.redis(self.connection).keys(self.pattern, at_most=self._bound(plan))
        removed = 0
        for start in range(0, len(keys), _BATCH):
            try:
                removed += await tools.redis(self.connection).unlink(keys[start : start + _BATCH])
            except Ambiguous:
                raise
            except RemediatorError as error:
                if not removed:
                    raise
                return Outcome(done=True, detail=f"{removed} keys unlinked, then: {error}")
        return Outcome(done=True, detail=f"{removed} keys unlinked")

    def _bound(self, plan: Plan) -> int:
        """What was planned, and approved. The release before wrote none down."""
        body: Any = plan.calls[0].body if plan.calls else None
        return min(int(body["at_most"]), self.at_most) if body else self.at_most

    async def observe(self, plan: Plan, intent: IntentId, tools: Toolbox) -> Observed:
        """No key left says done. Keys that are there may be new ones, so they say nothing."""
        left = await tools.redis(self.connection).keys(self.pattern, at_most=1)
        return Observed.UNKNOWN if left else Observed.DONE


def _rounded_up(found: int) -> int:
    """To a power of two: an approval is for about so many, though a cache has some more or less each time one looks."""
    return 1 << (found - 1).bit_length()
