"""A look at a measured value."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from remediator.diagnostics import Diagnostic, Look
from remediator.domain.incident import Incident
from remediator.language.text_kind import PromqlText
from remediator.toolbox import Toolbox


@dataclass(frozen=True, slots=True)
class Facts:
    series: int
    """That have a value."""
    value: float | None
    """Of the one series, or the largest of several. It has no value where there is no series, or the answer may not be
    whole: `has()` asks, to read it is an error."""
    lowest: float | None


class Promql(Diagnostic):
    """An instant query: how many series it gives, and the largest and smallest value."""

    Facts: ClassVar[type] = Facts

    query: Annotated[str, PromqlText()] = Field(min_length=1)
    """`${{ }}` may stand between the quotes of a label's value, and is literal there, also after `=~`."""
    connection: str = "default"
    """The name of a Prometheus connection in the settings."""

    async def examine(self, incident: Incident, tools: Toolbox) -> Look:
        answer = await tools.prometheus(self.connection).query(self.query)
        values = [sample.value for sample in answer.samples if sample.is_known]
        seen = f"{max(values):g} ({len(values)} series)" if values else "no series"
        if not values or answer.warnings:
            missing = f", not whole: {'; '.join(answer.warnings)[:300]}" if answer.warnings else ""
            return Look(f"{seen}{missing}", Facts(len(values), None, None))
        return Look(seen, Facts(len(values), max(values), min(values)))
