"""Signs of health. To add one: one file with one `Check`; it is then `use: <file name>` under `verify.checks:`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar

from remediator.catalogue import Plugin, StepTimeout
from remediator.domain.incident import Incident
from remediator.domain.plan import Permission
from remediator.domain.target import TARGET_KINDS, Target
from remediator.toolbox import Toolbox


@dataclass(frozen=True, slots=True)
class Sign:
    healthy: bool
    detail: str


class Check(Plugin, ABC):
    """Looks for one sign of health. An error is not health: the engine counts it as unhealthy and says so."""

    target_kinds: ClassVar[tuple[str, ...]] = TARGET_KINDS
    """Which kinds of target it can look at. All of them: it looks at something else."""

    timeout: StepTimeout = timedelta(seconds=10)

    def permissions(self, target: Target | None) -> tuple[Permission, ...]:
        return ()

    @abstractmethod
    async def passes(self, incident: Incident, tools: Toolbox) -> Sign: ...
