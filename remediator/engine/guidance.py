"""What an incident's rule says to people, in the version that it began with. Never in the way of who wants to tell it:
where it cannot be had, or not at once, there is none."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from remediator.domain.guidance import NO_GUIDANCE, Guidance, guidance_in
from remediator.domain.ids import RuleVersion
from remediator.rules.rulebook import Rulebook
from remediator.store import rule_versions
from remediator.store.database import Database

log = structlog.get_logger()

WITHIN = timedelta(seconds=1)
MOST_KEPT = 1_000


@dataclass(frozen=True, slots=True)
class GuidanceReader:
    database: Database
    rulebook: Callable[[], Rulebook]
    _read: dict[RuleVersion, Guidance] = field(default_factory=dict)
    """Of rules that are no more in force; what a version says never changes."""
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """One asks at a time: pages that all want the same must not take the connections from those that record them."""

    async def of(self, version: RuleVersion) -> Guidance:
        rule = self.rulebook().version(version)
        if rule is not None:
            return rule.guidance
        try:
            async with asyncio.timeout(WITHIN.total_seconds()), self._turn:
                return await self._of_another_time(version)
        except Exception as error:  # whatever is wrong with it: a page that says less must still go out
            log.warning("what a rule says to people cannot be read", version=version, error=str(error))
            return NO_GUIDANCE

    async def _of_another_time(self, version: RuleVersion) -> Guidance:
        if version not in self._read:
            async with self.database.connection() as connection:
                document = await rule_versions.load(connection, version)
            if len(self._read) == MOST_KEPT:
                self._read.clear()
            self._read[version] = guidance_in(document)
        return self._read[version]
