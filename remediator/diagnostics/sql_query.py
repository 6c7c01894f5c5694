"""A look into a database."""

import time
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from remediator.diagnostics import Diagnostic, Look
from remediator.domain.incident import Incident
from remediator.domain.number import number_of
from remediator.language.text_kind import SQL
from remediator.toolbox import Toolbox


@dataclass(frozen=True, slots=True)
class Facts:
    rows: int
    """At most 200."""
    value: float | None
    """The first column of the first row where that is a number; else it has no value: `has()` asks, to read it is an
    error."""
    text: str
    """The same as text, whatever it is; empty where there is no row."""
    seconds: float


class SqlQuery(Diagnostic):
    """Runs one query, read-only, with time-outs and a row cap, and keeps the first value of its first row."""

    Facts: ClassVar[type] = Facts

    connection: str = Field(min_length=1)
    """The name of a database connection in the settings; its role should be read-only too."""
    query: Annotated[str, SQL] = "SELECT 1"
    parameters: tuple[str | int | float | bool, ...] = ()
    """Bound to `$1`, `$2`: labels belong here, never into the text."""

    async def examine(self, incident: Incident, tools: Toolbox) -> Look:
        started = time.monotonic()
        found = await tools.database(self.connection).query(self.query, self.parameters)
        value = found.first_value
        facts = Facts(
            rows=found.count,
            value=number_of(value),
            text="" if value is None else str(value)[:300],
            seconds=round(time.monotonic() - started, 3),
        )
        more = "or more " if found.truncated else ""
        return Look(f"{self.connection}: {facts.rows} {more}row(s), first {facts.text[:80]!r}", facts)
