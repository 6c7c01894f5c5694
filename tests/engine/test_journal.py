"""What many incidents ask of the journal at once, each gets its own answer to."""

import asyncio
from datetime import timedelta
from uuid import uuid4

from msgspec.structs import replace

from remediator.domain.budget import Budget
from remediator.domain.errors import NotFound
from remediator.domain.ids import IntentId
from remediator.domain.ledger import Ledger, Proposal
from remediator.domain.mode import Mode
from remediator.domain.verdict import Allow, Verdict
from remediator.engine.journal import Journal
from remediator.guards import Guard
from remediator.store.database import Database
from tests.engine.working import NOBODY
from tests.store.facts import claimed
from tests.store.test_moves import ON, PLAN, commit, intent_of


class Spends(Guard):
    """One unit of a budget."""

    key: str
    beside: tuple[str, ...] = ()

    def judge(self, proposal: Proposal, ledger: Ledger) -> Verdict:
        return Allow("", self.budgets(proposal))

    def budgets(self, proposal: Proposal) -> tuple[Budget, ...]:
        return (Budget(self.key, at_most=5, within=timedelta(hours=1), beside=self.beside),)


async def test_an_intent_that_is_missing_costs_nobody_else_theirs(database: Database) -> None:
    incident = await claimed(database)
    begun = intent_of(incident)
    await commit(database, incident, replace(ON, intent=begun))
    journal = Journal(database, NOBODY, Mode.ACT)

    found, missing = await asyncio.gather(
        journal.intent(begun.id), journal.intent(IntentId(str(uuid4()))), return_exceptions=True
    )

    assert not isinstance(found, BaseException)
    assert found.intent.plan == PLAN
    assert isinstance(missing, NotFound)


async def test_a_judgement_sees_what_was_spent_of_its_own_budgets(database: Database) -> None:
    incident = await claimed(database)
    budget = Budget("attempts/backend", at_most=5, within=timedelta(hours=1), units=2)
    await commit(database, incident, replace(ON, intent=intent_of(incident, budget)))
    journal = Journal(database, NOBODY, Mode.OBSERVE)
    proposal = Proposal(incident.rule, PLAN.target, PLAN, "fix[0]")

    backend, frontend = await asyncio.gather(
        *(journal.ledger(incident, [Spends(key=f"attempts/{name}")], proposal) for name in ("backend", "frontend"))
    )

    assert [(spent.key, spent.units) for spent in backend.reservations] == [("attempts/backend", 2)]
    assert frontend.reservations == ()
    assert (backend.mode, backend.kill_switch.on) == (Mode.OBSERVE, False)


async def test_a_judgement_sees_what_counts_beside_its_own_budget(database: Database) -> None:
    incident = await claimed(database)
    budget = Budget("pods", at_most=5, within=timedelta(hours=1), units=2)
    await commit(database, incident, replace(ON, intent=intent_of(incident, budget)))
    proposal = Proposal(incident.rule, PLAN.target, PLAN, "fix[0]")

    seen = await Journal(database, NOBODY, Mode.ACT).ledger(incident, [Spends(key="keys", beside=("pods",))], proposal)

    assert [(spent.key, spent.units) for spent in seen.reservations] == [("pods", 2)]
