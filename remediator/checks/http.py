"""Whether an address answers as it should."""

from typing import Annotated

from pydantic import Field

from remediator.checks import Check, Sign
from remediator.domain.incident import Incident
from remediator.language.text_kind import PlainText, UrlText
from remediator.toolbox import Toolbox


class Http(Check):
    """A GET is answered with the status (and the text) wanted. Redirects are not followed."""

    url: Annotated[str, UrlText()] = Field(min_length=1)
    """Scheme and host are written out; `${{ }}` may stand in the path and the query, each one segment or one value."""
    status: int = Field(default=200, ge=100, le=599)
    contains: Annotated[str, PlainText()] = ""

    async def passes(self, incident: Incident, tools: Toolbox) -> Sign:
        answer = await tools.http.get(self.url, timeout=self.timeout.total_seconds())
        healthy = answer.status == self.status and self.contains in answer.text
        missing = "" if self.contains in answer.text else f", without {self.contains!r}"
        return Sign(healthy, f"answered {answer.status}{missing}, wanted {self.status}")
