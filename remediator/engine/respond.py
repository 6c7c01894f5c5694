"""What people do to an incident: acknowledge, approve, resolve, stop everything. The way in for web, links and CLI."""

from dataclasses import dataclass

import structlog

from remediator.domain.ids import IncidentId
from remediator.domain.incident import Incident
from remediator.domain.ledger import KillSwitch
from remediator.engine.announce import announce_ends
from remediator.engine.bell import Bell
from remediator.engine.pages import PageWriter
from remediator.marks import Mark, reached
from remediator.store import incidents, ledger
from remediator.store.database import Database

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Responder:
    """Each call is one transaction. Raises `NotFound`, or `NotAllowed` with the reason."""

    database: Database
    writer: PageWriter
    bell: Bell

    async def acknowledge(self, incident: IncidentId, *, by: str) -> Incident:
        """Safe to repeat: the first acknowledgement counts, and each makes it hold anew."""
        async with self.database.transaction() as tx:
            await incidents.acknowledge(tx, incident, by=by)
            after = await incidents.get_to_show(tx, incident)
            reached(Mark.RESPONSE_WRITTEN)
        return self._told("acknowledged", after, by)

    async def approve(self, incident: IncidentId, *, digest: str, by: str) -> Incident:
        """Bound to the plan's digest: an approval for an old plan cannot run a new one."""
        async with self.database.transaction() as tx:
            await incidents.approve(tx, incident, digest=digest, by=by)
            after = await incidents.get(tx, incident)
            reached(Mark.RESPONSE_WRITTEN)
        return self._told("approved", after, by)

    async def resolve(self, incident: IncidentId, *, by: str, note: str = "") -> Incident:
        async with self.database.transaction() as tx:
            is_new = await incidents.resolve(tx, incident, by=by, note=note)
            after = await incidents.get_to_show(tx, incident)
            if is_new:
                await announce_ends(tx, [after], self.writer)
            reached(Mark.RESPONSE_WRITTEN)
        return self._told("resolved", after, by) if is_new else after

    async def set_kill_switch(self, switch: KillSwitch) -> None:
        """On: from the next transaction on no replica begins a write."""
        async with self.database.transaction() as tx:
            await ledger.set_kill_switch(tx, on=switch.on, by=switch.by, reason=switch.reason)
        log.warning("kill switch", on=switch.on, by=switch.by, reason=switch.reason)
        self.bell.ring()

    def _told(self, what: str, incident: Incident, by: str) -> Incident:
        reached(Mark.RESPONSE_COMMITTED)
        log.info("incident changed by a person", what=what, incident=incident.id, by=by)
        self.bell.ring()
        return incident
