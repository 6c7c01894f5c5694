"""Read-only looks. To add one: one file with one `Diagnostic`; it is then `use: <file name>` under `diagnose:`."""

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
class Look:
    """What was seen: `facts` is an instance of the diagnostic's own `Facts`."""

    summary: str
    facts: object


class Diagnostic(Plugin, ABC):
    """A look that changes nothing."""

    Facts: ClassVar[type]
    """A frozen dataclass: each field is the CEL variable `diagnose.<name>.<field>`, typed by its annotation."""

    target_kinds: ClassVar[tuple[str, ...]] = TARGET_KINDS
    """Which kinds of target it can look at. All of them: it needs none."""

    timeout: StepTimeout = timedelta(seconds=10)

    def permissions(self, target: Target | None) -> tuple[Permission, ...]:
        return ()

    @abstractmethod
    async def examine(self, incident: Incident, tools: Toolbox) -> Look:
        """Any `RemediatorError` raised becomes a finding with ok == false, never a stopped incident."""
