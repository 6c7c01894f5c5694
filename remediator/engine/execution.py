"""One journalled write and what became of it: run it if this very claim journalled it, else only look.

Shared by fixes and undos. The caller turns the result into a Move.
"""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pydantic
import structlog

from remediator.actions import Action
from remediator.catalogue import plugins_of
from remediator.domain.budget import Budget
from remediator.domain.errors import Ambiguous, NotAllowed, RemediatorError
from remediator.domain.ids import IntentId
from remediator.domain.incident import Incident, Intent, IntentResult, IntentState, JournalledIntent
from remediator.domain.plan import Fence, Observed, Outcome, Plan
from remediator.engine.desk import Desk
from remediator.marks import Mark, reached

log = structlog.get_logger()


def planned_by(action: Action, plan: Plan) -> Plan:
    """The plan with what it takes to revive its action after a crash."""
    return replace(plan, parameters=action.model_dump(mode="json", exclude_unset=True))


def revive(plan: Plan) -> Action:
    """The action as it was when it planned. Raises `NotAllowed` where this release no longer understands it."""
    try:
        action: Action = plugins_of(Action)[plan.action].model_validate(plan.parameters)
    except (KeyError, pydantic.ValidationError) as error:
        raise NotAllowed(f"this release cannot read the journalled action {plan.action}: {error}") from error
    return action


def new_intent(
    incident: Incident,
    path: str,
    plan: Plan,
    *,
    action: Action,
    budgets: tuple[Budget, ...] = (),
    undoes: IntentId | None = None,
) -> Intent:
    return Intent(
        id=IntentId(str(uuid4())),
        incident=incident.id,
        path=path,
        plan=plan,
        budgets=budgets,
        timeout=action.timeout,
        undoes=undoes,
    )


async def carry_out(journalled: JournalledIntent, incident: Incident, desk: Desk) -> IntentResult:
    """Never raises for what the other system does; `unknown` is an answer, and it goes to a person."""
    intent = journalled.intent
    if journalled.state is not IntentState.BEGUN:
        return IntentResult(intent.id, journalled.state, journalled.detail)
    try:
        action = revive(intent.plan)
    except NotAllowed as error:
        return cannot_tell(intent.id, because=str(error))
    if journalled.epoch != incident.epoch:
        return await _look(action, intent, desk, because="it was begun before a restart")
    return await _run(action, intent, incident, desk)


def _in_time(incident: Incident, action: Action, desk: Desk) -> bool:
    """A replica that was frozen after its intent was journalled finds out here, without asking anybody: it is the
    last thing before the write."""
    return incident.lease_until is not None and incident.lease_until - desk.clock() > action.timeout


def _fence(incident: Incident, desk: Desk) -> Fence:
    """An action may look once more before it writes, or write several times: a replica that was frozen in between finds
    out at the next write."""
    is_begun = False

    def fence() -> None:
        nonlocal is_begun
        reached(Mark.WRITE_CONNECTED)
        if incident.lease_until is None or incident.lease_until <= desk.clock():
            if is_begun:
                raise Ambiguous("the lease ran out in the middle", system="engine", operation="write")
            raise NotAllowed("not done: the lease ran out before the write")
        is_begun = True

    return fence


async def _run(action: Action, intent: Intent, incident: Incident, desk: Desk) -> IntentResult:
    if desk.writers is None:
        return IntentResult(
            intent.id, IntentState.FAILED, "not done: this daemon runs in observe mode and cannot write"
        )
    try:
        async with asyncio.timeout(action.timeout.total_seconds()):
            reached(Mark.WRITE_BEGINS)
            if not _in_time(incident, action, desk):
                return IntentResult(
                    intent.id, IntentState.FAILED, "not done: too little of the lease was left to begin it"
                )
            outcome = await action.run(intent.plan, intent.id, desk.writers.fenced(_fence(incident, desk)))
            reached(Mark.WRITE_DONE)
    except (Ambiguous, TimeoutError) as error:
        return await _look(action, intent, desk, because=f"no answer came ({error or 'timed out'})")
    except RemediatorError as error:
        return IntentResult(intent.id, IntentState.FAILED, str(error))
    except Exception as error:  # a bug, perhaps after the write: what it did is looked for, and a leased fix taken back
        log.exception("action failed", intent=intent.id)
        return await _look(action, intent, desk, because=f"{type(error).__name__}: {error}")
    return _told(intent, outcome)


def _told(intent: Intent, outcome: Outcome) -> IntentResult:
    return IntentResult(intent.id, IntentState.DONE if outcome.done else IntentState.FAILED, outcome.detail)


async def _look(action: Action, intent: Intent, desk: Desk, *, because: str) -> IntentResult:
    try:
        async with asyncio.timeout(action.timeout.total_seconds()):
            seen = await action.observe(intent.plan, intent.id, desk.tools)
    except Exception as error:  # also that what it was done to is gone: a write without a result is kept for ever
        log.warning("intent not observed", intent=intent.id, error=f"{type(error).__name__}: {error}")
        seen = Observed.UNKNOWN
    match seen:
        case Observed.DONE:
            return IntentResult(intent.id, IntentState.DONE, f"seen in the world: {intent.plan.summary} ({because})")
        case Observed.NOT_DONE:
            return IntentResult(intent.id, IntentState.FAILED, f"not in the world: {intent.plan.summary} ({because})")
        case Observed.UNKNOWN:
            return cannot_tell(intent.id, because=because)


def cannot_tell(intent: IntentId, *, because: str) -> IntentResult:
    """For a person to decide."""
    return IntentResult(intent, IntentState.UNKNOWN, f"cannot tell whether it happened ({because}); not repeated")
