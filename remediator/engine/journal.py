"""What the engine reads of its own past: rules as they were, the ledger that guards judge by, what was journalled.

Read for many incidents at once, as their moves are committed: a round trip each would be most of what a move costs.
"""

from collections.abc import Callable, Sequence

from remediator.domain.alert import Alert
from remediator.domain.budget import Budget
from remediator.domain.ids import IncidentId, IntentId
from remediator.domain.incident import Incident, JournalledIntent
from remediator.domain.ledger import Ledger, Proposal
from remediator.domain.mode import Mode, lower
from remediator.engine.group_commit import GroupCommit
from remediator.guards import Guard
from remediator.rules.rule import Rule
from remediator.rules.rulebook import Rulebook
from remediator.store import incidents, intents, ledger, rule_versions
from remediator.store.database import Database
from remediator.store.ledger import Snapshot

Budgets = frozenset[Budget]


class Journal:
    def __init__(self, database: Database, rulebook: Callable[[], Rulebook], ceiling: Mode) -> None:
        """`ceiling`: of this daemon, now; it may have been lowered since the incident was opened."""
        self._database = database
        self._rulebook = rulebook
        self._ceiling = ceiling
        self._snapshots: GroupCommit[Budgets, Snapshot] = GroupCommit(self._read_snapshots)
        self._intents: GroupCommit[IntentId, JournalledIntent] = GroupCommit(self._read_intents)

    async def rule(self, incident: Incident) -> Rule:
        rulebook = self._rulebook()
        known = rulebook.version(incident.rule_version)
        if known is not None:
            return known
        async with self._database.connection() as connection:
            document = await rule_versions.load(connection, incident.rule_version)
        return rulebook.compile_document(document)

    async def ledger(self, incident: Incident, guards: Sequence[Guard], proposal: Proposal) -> Ledger:
        budgets = frozenset(budget for guard in guards for budget in guard.budgets(proposal))
        snapshot = await self._snapshots.submit(budgets)
        keys = {key for budget in budgets for key in budget.keys}
        return Ledger(
            now=snapshot.now,
            mode=lower(self._ceiling, incident.mode),
            kill_switch=snapshot.kill_switch,
            reservations=tuple(spent for spent in snapshot.reservations if spent.key in keys),
            workload_health=_health(incident, proposal),
        )

    async def intent(self, intent: IntentId) -> JournalledIntent:
        return await self._intents.submit(intent)

    async def stand_in(self, incident: IncidentId) -> Alert | None:
        async with self._database.connection() as connection:
            return await incidents.stand_in(connection, incident)

    async def _read_snapshots(self, wanted: Sequence[Budgets]) -> list[Snapshot]:
        """The same for all, whose budgets are among those of all."""
        async with self._database.connection() as connection:
            snapshot = await ledger.snapshot(connection, Budgets().union(*wanted))
        return [snapshot] * len(wanted)

    async def _read_intents(self, wanted: Sequence[IntentId]) -> list[JournalledIntent]:
        async with self._database.connection() as connection:
            return await intents.get_many(connection, wanted)


def _health(incident: Incident, proposal: Proposal) -> dict[str, tuple[int, int]]:
    """(ready, desired) of what the plan is about: as its action has counted them, or else whichever finding counted
    both. What was found of one pod says nothing of its workload."""
    if proposal.plan.health is not None:
        return {proposal.target.key: proposal.plan.health}
    if incident.target != proposal.target:
        return {}
    for finding in incident.progress.findings.values():
        ready, desired = finding.facts.get("ready"), finding.facts.get("desired")
        if finding.ok and isinstance(ready, int) and isinstance(desired, int):
            return {proposal.target.key: (ready, desired)}
    return {}
