"""Which version of its rule each incident of a seed began with, noted while the story goes on: at the end nobody could
tell that it was another one."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from tests.faults.books import DATABASE_ERRORS, Books, Line


@dataclass
class Beginnings:
    dsn: str
    _version: dict[int, str] = field(default_factory=dict)

    async def note(self) -> None:
        """Until cancelled."""
        line = Line(self.dsn)
        try:
            while True:
                await asyncio.sleep(0.2)
                with suppress(*DATABASE_ERRORS):
                    rows = await (await line.connection()).fetch("SELECT id, rule_version FROM incidents")
                    self._add({row["id"]: row["rule_version"] for row in rows})
        finally:
            await line.close()

    def of(self, books: Books) -> dict[int, str]:
        """Of each incident in them: as it was seen first."""
        self._add({row["id"]: row["rule_version"] for row in books.incidents})
        return self._version.copy()

    def _add(self, seen: Mapping[int, str]) -> None:
        self._version = {**seen, **self._version}
