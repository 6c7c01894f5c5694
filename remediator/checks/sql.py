"""Whether a database answers as it should."""

from typing import Annotated

from pydantic import Field

from remediator.checks import Check, Sign
from remediator.domain.incident import Incident
from remediator.domain.number import number_of
from remediator.language.text_kind import SQL
from remediator.toolbox import Toolbox


class Sql(Check):
    """The first column of the query's one row is true, or a number other than 0; text is no proof. Runs read-only."""

    connection: str = Field(min_length=1)
    """The name of a database connection in the settings."""
    query: Annotated[str, SQL] = "SELECT true"
    parameters: tuple[str | int | float | bool, ...] = ()
    """Bound to `$1`, `$2`: values never become part of the text."""

    async def passes(self, incident: Incident, tools: Toolbox) -> Sign:
        found = await tools.database(self.connection).query(self.query, self.parameters)
        if found.count != 1:
            return Sign(healthy=False, detail=f"{self.connection} gave {found.count} rows, one was wanted")
        value = found.first_value
        number = number_of(value)
        is_sign = isinstance(value, bool) or number is not None
        unlike = "" if is_sign else ", which is neither a truth value nor a number"
        return Sign(value is True or bool(number), f"{self.connection} answered {str(value)[:80]}{unlike}")
