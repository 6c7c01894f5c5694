"""What the engine reads of its own past: the ledger that guards judge by, and what was journalled."""

from collections.abc import Sequence
from dataclasses import dataclass

from remediator.domain.ids import IntentId
from remediator.domain.incident import Incident
from remediator.domain.ledger import Ledger, Proposal
from remediator.domain.mode import Mode, lower
from remediator.guards import Guard
from remediator.store import intents, ledger
from remediator.store.database import Database
from remediator.store.intents import StoredIntent


@dataclass(frozen=True, slots=True)
class Journal:
    database: Database
    ceiling: Mode
    """Of this daemon, now: it may have been lowered since the incident was opened."""

    async def ledger(self, incident: Incident, guards: Sequence[Guard], proposal: Proposal) -> Ledger:
        """One snapshot, read in one transaction."""
        keys = sorted({budget.key for guard in guards for budget in guard.budgets(proposal)})
        async with self.database.transaction() as tx:
            return Ledger(
                now=await ledger.now(tx),
                mode=lower(self.ceiling, incident.mode),
                kill_switch=await ledger.kill_switch(tx),
                reservations=await ledger.reservations(tx, keys),
                workload_health=_health(incident, proposal),
            )

    async def intent(self, intent: IntentId) -> StoredIntent:
        async with self.database.connection() as connection:
            return await intents.get(connection, intent)


def _health(incident: Incident, proposal: Proposal) -> dict[str, tuple[int, int]]:
    """(ready, desired) of the target, from whichever finding counted both."""
    for finding in incident.progress.findings.values():
        ready, desired = finding.facts.get("ready"), finding.facts.get("desired")
        if finding.ok and isinstance(ready, int) and isinstance(desired, int):
            return {proposal.target.key: (ready, desired)}
    return {}
