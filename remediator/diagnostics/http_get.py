"""A look at an address."""

import time
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from remediator.diagnostics import Diagnostic, Look
from remediator.domain.incident import Incident
from remediator.language.text_kind import UrlText
from remediator.toolbox import Toolbox


@dataclass(frozen=True, slots=True)
class Facts:
    status: int
    seconds: float
    body: str
    """The first 2,000 characters."""
    well: bool
    """2xx."""


class HttpGet(Diagnostic):
    """A GET without credentials; redirects are not followed, link-local addresses are never called."""

    Facts: ClassVar[type] = Facts

    url: Annotated[str, UrlText()] = Field(min_length=1)
    """Scheme and host are written out; `${{ }}` may stand in the path and the query, each one segment or one value."""

    async def examine(self, incident: Incident, tools: Toolbox) -> Look:
        started = time.monotonic()
        answer = await tools.http.get(self.url, timeout=self.timeout.total_seconds())
        seconds = round(time.monotonic() - started, 3)
        facts = Facts(answer.status, seconds, answer.text[:2_000], well=200 <= answer.status < 300)
        return Look(f"answered {answer.status} in {seconds:.2f} s", facts)
