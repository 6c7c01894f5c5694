"""Alerts that fire and that nobody works on get an incident after all. A rule may come after its alert, or its file may
have been broken at the start; and what a person or a proof has closed may fire on. Nobody would tell of either again:
to the sender they are the same alerts as before.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import structlog

from remediator.domain.errors import Outdated, Temporary
from remediator.domain.ids import EpisodeId, IncidentId
from remediator.domain.mode import Mode
from remediator.domain.opening import Opening
from remediator.domain.timeline import Entry, EntryKind
from remediator.engine.bell import Bell
from remediator.engine.looking import looking_for
from remediator.language.duration import format_duration
from remediator.metrics import Metrics
from remediator.rules.rulebook import Rulebook
from remediator.store import openings, strays, timeline
from remediator.store.database import Connection, Database
from remediator.store.openings import Requested
from remediator.store.strays import Stray

log = structlog.get_logger()

EVERY = timedelta(minutes=1)
REOPENED_AFTER = timedelta(minutes=30)
"""Told again so long after its incident was closed. Sooner it may be the sender who has not noticed the end yet, or who
repeats a whole group because of another alert in it."""
LOOKS = 2
"""With each set of rules: the second finds what was filed by the old ones while the first looked. One in which anything
was given up does not count: nobody would look for that again."""
AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Strays:
    database: Database
    rulebook: Callable[[], Rulebook]
    ceiling: Mode
    bells: Sequence[Bell]
    metrics: Metrics
    _looked_with: deque[Rulebook] = field(default_factory=lambda: deque(maxlen=LOOKS))

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            async with looking_for("alerts that nobody works on", self.database.health):
                await self.look()
            await asyncio.sleep(EVERY.total_seconds())

    async def look(self) -> int:
        """How many have an incident now."""
        rulebook = self.rulebook()
        async with self.database.connection() as connection:
            outliving = await strays.outliving(connection, by=REOPENED_AFTER)
        found = [stray.episode for stray in outliving]
        if self._looked_with.count(rulebook) < LOOKS:
            found += await self._wanted_by(rulebook)
        adopted = [await self._adopt(found[at : at + AT_ONCE], rulebook) for at in range(0, len(found), AT_ONCE)]
        if None not in adopted:
            self._looked_with.append(rulebook)
        return sum(number for number in adopted if number is not None)

    async def _wanted_by(self, rulebook: Rulebook) -> list[EpisodeId]:
        async with self.database.transaction() as tx:
            return [stray.episode async for stray in strays.unwanted(tx) if rulebook.matching(stray.alert)]

    async def _adopt(self, episodes: Sequence[EpisodeId], rulebook: Rulebook) -> int | None:
        """None where they were given up, and are to be looked for again with the same rules."""
        try:
            async with self.database.transaction() as tx:
                adopted = await self._open_for(tx, await strays.these(tx, episodes), rulebook)
        except Outdated as error:
            log.info("to be looked for again", reason=str(error))
            return None
        except Temporary:
            raise
        except Exception as error:  # a bug, or a row that cannot be stored: the others must not wait for it
            log.exception("alerts that nobody works on not adopted", error=str(error))
            return None
        self.metrics.alerts.labels(filing="adopted").inc(adopted)
        for bell in self.bells if adopted else ():
            bell.ring()
        return adopted

    async def _open_for(self, tx: Connection, found: Sequence[Stray], rulebook: Rulebook) -> int:
        requested: list[Requested] = []
        together: defaultdict[str, list[Stray]] = defaultdict(list)
        for stray in found:
            opening = self._opening(stray, rulebook)
            if opening is not None:
                requested.append(Requested(opening, stray.alert))
                together[opening.run_key].append(stray)
        opened = await openings.open_or_join(tx, requested)
        adopted = {IncidentId(opened.incidents[key]): those for key, those in together.items()}
        await strays.adopt(tx, adopted)
        told = [entry for incident, those in adopted.items() for entry in _told_of(incident, those)]
        await timeline.append(tx, [*opened.told, *told])
        return sum(map(len, adopted.values()))

    def _opening(self, stray: Stray, rulebook: Rulebook) -> Opening | None:
        try:
            return rulebook.opening(stray.alert, ceiling=self.ceiling)
        except Exception as error:  # a bug, in a rule or in us: the others must not wait for it
            log.exception("no incident can be opened", alert=stray.alert.name, error=str(error))
            return None


def _told_of(incident: IncidentId, adopted: Sequence[Stray]) -> Iterator[tuple[IncidentId, Entry]]:
    """There why it was opened; and in those that were closed, whose alerts they were until now, where to look on."""
    yield incident, _why(adopted[0])
    left: defaultdict[IncidentId, list[Stray]] = defaultdict(list)
    for stray in adopted:
        if stray.closed is not None:
            left[stray.closed].append(stray)
    for closed, those in left.items():
        names = ", ".join(sorted({stray.alert.name for stray in those}))
        where = {"incident": incident, "episodes": [stray.episode for stray in those]}
        yield closed, Entry(EntryKind.ALERT, f"goes on in incident {incident}: {names}", data=where)


def _why(stray: Stray) -> Entry:
    if stray.closed is None:
        return Entry(EntryKind.ALERT, f"it fires since {stray.alert.starts_at:%Y-%m-%d %H:%M} UTC: its rule came later")
    if stray.began_anew:
        return Entry(EntryKind.ALERT, f"it began anew after incident {stray.closed} was closed")
    later = format_duration(REOPENED_AFTER)
    return Entry(EntryKind.ALERT, f"it fires on more than {later} after incident {stray.closed} was closed")
