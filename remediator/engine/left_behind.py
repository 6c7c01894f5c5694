"""Tells somebody of a change that stays in the world because nobody takes it back. Its incident may be closed, or in
somebody's hands: then no page of its own would tell."""

from dataclasses import replace
from datetime import timedelta

import structlog
from msgspec import MsgspecError

from remediator.domain.errors import NotFound
from remediator.domain.escalation import EscalationStep
from remediator.domain.ids import IntentId
from remediator.domain.incident import Incident, IntentState, Move, Status
from remediator.domain.mode import Mode
from remediator.domain.notification import LEFT_BEHIND, NotificationKind
from remediator.domain.oncall import Roster
from remediator.domain.timeline import Entry, EntryKind
from remediator.engine.escalate import Order, calls_to_every_channel, order
from remediator.engine.pages import PageWriter
from remediator.store import escalations, intents, ledger, outbox, timeline
from remediator.store.database import Connection
from remediator.store.escalations import DueAlike
from remediator.store.moves import Decided
from remediator.store.outbox import Outgoing

log = structlog.get_logger()

NO_REVIEW_CHANNEL = ""
"""What only looks leaves nothing behind; should the mode have been lowered since, the timeline tells."""


def left_behind(before: Incident, move: Move, *, after: Incident) -> IntentId | None:
    """The write that stays for good with this move, or that may be there and nobody knows."""
    due, result = before.progress.undo, move.result
    if due is not None and move.progress.undo is None:
        return due.intent if result is None or result.result is not IntentState.DONE else None
    if result is not None and result.result is IntentState.UNKNOWN and after.status is not Status.TRIGGERED:
        return result.id
    if move.status is Status.RESOLVED and not before.acknowledged_by:
        return before.progress.unsure_of
    return None


async def tell_of(
    tx: Connection, write: IntentId, decided: Decided, *, after: Incident, roster: Roster, writer: PageWriter
) -> None:
    """In the transaction of that move, once a write."""
    incident = decided.incident
    about_it = f"{incident.id}:{LEFT_BEHIND}:{write}:"
    if await outbox.is_told(tx, incident.id, key_begins=about_it):
        return
    ordered = await _ordered(tx, incident, after=after, roster=roster)
    told = (await intents.summary(tx, write), *(entry.message for entry in decided.move.entries))
    messages = [
        Outgoing(
            writer.left_behind(
                incident, told, recipient=call.recipient, dedup_key=f"{about_it}{call.key}", kind=ordered.kind
            ),
            call.reach,
            incident.rule,
        )
        for call in ordered.calls
    ]
    await outbox.enqueue(tx, messages)
    await timeline.append(tx, [(incident.id, entry) for entry in ordered.entries])


async def _ordered(tx: Connection, incident: Incident, *, after: Incident, roster: Roster) -> Order:
    """Every channel hears of it where whom to page cannot be read: else the move would be refused, and made anew, for
    ever."""
    try:
        alike = _whoever_has_it_first(await escalations.from_the_start(tx, incident), after)
        return order(alike, roster, await ledger.now(tx), review_channel=NO_REVIEW_CHANNEL)
    except (MsgspecError, NotFound) as error:  # stored by another release, or by hand
        log.exception("nobody can read whom to page, every channel is", incident=incident.id, error=str(error))
        return _to_every_channel(incident, roster)


def _to_every_channel(incident: Incident, roster: Roster) -> Order:
    calls = () if incident.mode is Mode.OBSERVE else tuple(calls_to_every_channel(roster))
    told = (Entry(EntryKind.PAGE, f"paging {call.recipient}: its policy cannot be read", "escalate") for call in calls)
    return Order(0, timedelta(), NotificationKind.PAGE, calls, tuple(told))


def _whoever_has_it_first(alike: DueAlike, incident: Incident) -> DueAlike:
    """Whoever has acknowledged it is awake, and hears of it in one message; where that name reaches nobody, those whom
    the policy pages first do."""
    if incident.status is not Status.ACKNOWLEDGED:
        return alike
    steps = (EscalationStep((incident.acknowledged_by,)), *alike.policy.steps)
    return replace(alike, policy=replace(alike.policy, steps=steps), severity=replace(alike.severity, urgent=False))
