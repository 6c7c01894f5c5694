"""What the log says of the work: a line for each thing that whoever runs the daemon would ask about, after its commit.

The timeline has the rest for people, and metrics count. Nothing here is said of an alert: there are thousands.
"""

import structlog

from remediator.domain.errors import NotFound
from remediator.domain.incident import Incident, IntentState, Move, Phase
from remediator.domain.notification import NotificationKind
from remediator.store.outbox import OutboxItem

log = structlog.get_logger()

_ENDED = {Phase.CLEARED: "fix ended", Phase.UNDOING: "undo ended"}
"""By the phase in which it was under way. A closed incident may come to the end of either."""


def tell_of_claim(incident: Incident) -> None:
    """The first one: whoever opened it had thousands of alerts to file."""
    if incident.epoch == 1:
        log.info("incident opened", title=incident.title, severity=incident.severity, mode=incident.mode.value)


def tell_of_move(before: Incident, move: Move, after: Incident) -> None:
    """Incident, rule and target are bound by the caller."""
    wake_in = move.wake_in.total_seconds() if move.wake_in is not None else None
    log.debug("move committed", phase=move.phase.value, was=before.phase.value, wake_in_seconds=wake_in)
    if move.result is not None:
        tell = log.info if move.result.result is IntentState.DONE else log.warning
        ended = _ENDED.get(before.phase, "write ended")
        tell(ended, result=move.result.result.value, detail=move.result.detail, intent=move.result.id)
    if move.intent is not None:
        begun = "fix begun" if move.intent.undoes is None else "undo begun"
        log.info(begun, plan=move.intent.plan.summary, intent=move.intent.id)
    if before.is_open and not after.is_open:
        log.info("incident closed", resolution=after.resolution)
    elif move.phase is Phase.HANDED_OVER and before.phase not in (Phase.HANDED_OVER, Phase.UNDOING):
        told = move.entries[-1].message if move.entries else ""
        log.info("incident handed over", reason=told.removeprefix("handed over to people: "))


def tell_of_message(item: OutboxItem, result: str, error: Exception | None) -> None:
    """`result` as it is counted. Of what is tried again and again, the first try alone."""
    told = _bound(item)
    match result:
        case "sent":
            told.info("page sent")
        case "failed" if len(item.reach) > 1:
            told.warning("page failed on a channel", error=str(error), then=f"by {item.reach[1].channel}")
        case "failed" if item.is_last_resort:
            told.error("page failed on a channel", error=str(error), then="given up on this one, the last resort")
        case "failed" if item.kind is NotificationKind.PAGE:
            told.error("page reached nobody", error=str(error), then="every other channel is tried")
        case "failed":
            told.warning("page reached nobody", error=str(error), then="nothing: it wakes nobody")
        case "retried" if item.attempts == 0 and not isinstance(error, NotFound):
            told.warning("page failed on a channel", error=str(error), then="tried again")
        case _:
            told.debug("page not sent", result=result, error=str(error), attempts=item.attempts)


def _bound(item: OutboxItem) -> structlog.typing.FilteringBoundLogger:
    about: dict[str, object] = {"rule": item.about.rule} if item.about is not None else {}
    if item.about is not None and item.about.target is not None:
        about["target"] = item.about.target.key
    where = {"channel": item.contact.channel, "recipient": item.recipient}
    told: structlog.typing.FilteringBoundLogger = log.bind(
        incident=item.incident, kind=item.kind.value, **where, **about
    )
    return told
