"""What a replica did that had lost its lease, and learned when another had looked for it already: the journal gets what
is more, and people hear of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from remediator.domain.ids import IntentId
from remediator.domain.incident import Incident, IntentResult, Move
from remediator.domain.oncall import Roster
from remediator.domain.timeline import Entry, EntryKind
from remediator.engine.left_behind import tell_of
from remediator.engine.pages import PageWriter
from remediator.store import incidents, intents, timeline
from remediator.store.database import Connection
from remediator.store.moves import Decided

CAME_LATE = "told by a replica that had lost its lease, after another had looked for the write"


@dataclass(frozen=True, slots=True)
class LateResults:
    roster: Roster
    writer: PageWriter

    async def keep(self, tx: Connection, incident: Incident, move: Move, result: IntentResult) -> None:
        """Of a move that was refused: a later claim may have looked for the write in vain, and gone on."""
        await intents.finish(tx, [result])
        if await intents.correct(tx, result):
            await self._tell(tx, incident, move, move.entries, write=result.id)

    async def compare(self, tx: Connection, made: Sequence[Decided]) -> None:
        """Of moves that are made: whoever had lost its lease may have recorded what it did while they looked for it.
        Then the journal has that. What was seen and is more goes into the journal."""
        seen = {one.move.result.id: (one, one.move.result) for one in made if one.move.result is not None}
        for known in await intents.results(tx, list(seen)) if seen else ():
            one, result = seen[known.id]
            if known.result is not result.result and not await intents.correct(tx, result):
                told = [replace(entry, message=f"{known.result}: {known.detail}") for entry in one.move.entries[:1]]
                await self._tell(tx, one.incident, one.move, told, write=result.id)

    async def _tell(
        self, tx: Connection, incident: Incident, move: Move, told: Sequence[Entry], *, write: IntentId
    ) -> None:
        """An undo that came late has left nothing behind, and whoever tries it again sees that."""
        entries = tuple(replace(entry, message=f"{CAME_LATE}: {entry.message}") for entry in told)
        await timeline.append(tx, [(incident.id, entry) for entry in entries])
        if any(entry.kind is EntryKind.FIX for entry in entries):
            late, now = Decided(incident, replace(move, entries=entries)), await incidents.get_to_show(tx, incident.id)
            await tell_of(tx, write, late, after=now, roster=self.roster, writer=self.writer)
