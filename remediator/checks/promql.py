"""Whether a measured value is where it should be."""

from typing import Annotated

from pydantic import Field, model_validator

from remediator.checks import Check, Sign
from remediator.clients.prometheus import Answer
from remediator.domain.incident import Incident
from remediator.language.text_kind import PromqlText
from remediator.toolbox import Toolbox


class Promql(Check):
    """Every series of an instant query is `below` or `above` a bound. No series, one without a value (NaN), or an
    answer with warnings, which may not be whole, is no health: absence is no proof."""

    query: Annotated[str, PromqlText()] = Field(min_length=1)
    """`${{ }}` may stand between the quotes of a label's value, and is literal there, also after `=~`.

    A share of errors has no series while there are none, and proves nothing then. This one is 0:
    `(sum(rate(x{code=~"5.."}[1m])) or vector(0)) / sum(rate(x[1m]))`."""
    connection: str = "default"
    """The name of a Prometheus connection in the settings."""
    below: float | None = None
    above: float | None = None

    @model_validator(mode="after")
    def _some_bound(self) -> "Promql":
        if self.below is None and self.above is None:
            raise ValueError("give `below`, `above` or both")
        return self

    async def passes(self, incident: Incident, tools: Toolbox) -> Sign:
        answer = await tools.prometheus(self.connection).query(self.query)
        if why := _why_it_cannot_be_told(answer):
            return Sign(healthy=False, detail=why)
        values = [sample.value for sample in answer.samples]
        worst = max(values) if self.below is not None else min(values)
        return Sign(all(map(self._is_inside, values)), f"{worst:g}, wanted {self._wanted()}")

    def _is_inside(self, value: float) -> bool:
        return (self.below is None or value < self.below) and (self.above is None or value > self.above)

    def _wanted(self) -> str:
        bounds = (("below", self.below), ("above", self.above))
        return " and ".join(f"{name} {bound:g}" for name, bound in bounds if bound is not None)


def _why_it_cannot_be_told(answer: Answer) -> str:
    """Empty where it can."""
    if answer.warnings:
        return f"the answer is not whole: {'; '.join(answer.warnings)[:300]}"
    if not answer.samples:
        return "the query gives no series: absence is no proof of health"
    unknown = next((sample for sample in answer.samples if not sample.is_known), None)
    return f"{unknown} has no value (NaN): nothing is proven" if unknown is not None else ""
