"""What every stage works with: read-only tools, the journal to read in and, above observe mode, the means to write."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from remediator.domain.alert import Alert
from remediator.domain.ids import IncidentId, IntentId
from remediator.domain.incident import Incident, JournalledIntent
from remediator.domain.ledger import Ledger, Proposal
from remediator.guards import Guard
from remediator.rules.rule import Rule
from remediator.toolbox import Clock, Toolbox, WriteToolbox

APPROVAL_LIFE = timedelta(minutes=10)
"""Then the facts are too old to approve on, and the incident is diagnosed afresh (facts: safety 5)."""
HOLD_AFTER_FAILURE = timedelta(seconds=30)
"""Before planning again when another system did not answer."""
MOST_HOLDS = 20
"""Then a person has it: an incident does not wait for ever."""


@dataclass(frozen=True, slots=True)
class Desk:
    tools: Toolbox
    clock: Clock
    """Follows the database's clock, so that replicas agree."""
    read_rule: Callable[[Incident], Awaitable[Rule]]
    """In the version that the incident began with, whatever the files say now."""
    read_ledger: Callable[[Incident, Sequence[Guard], Proposal], Awaitable[Ledger]]
    read_intent: Callable[[IntentId], Awaitable[JournalledIntent]]
    read_stand_in: Callable[[IncidentId], Awaitable[Alert | None]]
    global_guards: Callable[[], Sequence[Guard]]
    """Those of the rulebook in force; a rule adds its own."""
    recheck: timedelta
    """How often a fix under verification is looked at."""
    writers: WriteToolbox | None = None
    """None in observe mode: there is nothing to write with."""
