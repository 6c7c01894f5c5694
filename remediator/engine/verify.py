"""fixed -> closed, once the signs of health have held for long enough; else the fix did not work, and that is said."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import structlog
from msgspec.structs import replace

from remediator.checks import Check, Sign
from remediator.domain.errors import RemediatorError
from remediator.domain.incident import AttemptResult, Incident, Move, PageOrder, Phase, Progress
from remediator.domain.timeline import Entry, EntryKind
from remediator.engine import close, undo
from remediator.engine.desk import Desk
from remediator.language.duration import format_duration
from remediator.rules.rule import Step, Verify
from remediator.rules.values import values_of
from remediator.toolbox import Toolbox

log = structlog.get_logger()


LOOK_EVERY = timedelta(minutes=1)
"""At what does not recover though its alert has ended; a person was paged."""


async def stage(incident: Incident, desk: Desk) -> Move:
    rule = await desk.read_rule(incident)
    return judge_health(incident, rule.verify, await _look(incident, rule.verify, desk), desk=desk)


async def await_health(incident: Incident, desk: Desk) -> Move:
    """The alert has ended after a fix whose proof failed. What our fix took down reports nothing any more, and that
    ends alerts too: only the same proof closes the incident."""
    rule = await desk.read_rule(incident)
    signs = await _look(incident, rule.verify, desk)
    words = _in_words(signs)
    if all(sign.healthy for sign in signs.values()):
        return close.resolved(incident, desk, "the alert resolved", f"the alert stopped firing; {words or 'no check'}")
    progress = replace(incident.progress, checked=words)
    wake_in = undo.in_time(progress, desk, wait=LOOK_EVERY)
    if incident.phase is not Phase.HANDED_OVER:
        why = f"the alert ended, but a fix was not proven and it is not healthy: {words}"
        return replace(close.handed_over(incident, desk, why, progress=progress), wake_in=wake_in)
    entries = _told(signs) if words != incident.progress.checked else ()
    return Move(Phase.HANDED_OVER, progress, entries=entries, wake_in=wake_in)


async def _look(incident: Incident, verify: Verify, desk: Desk) -> dict[str, Sign]:
    values = values_of(incident, now=desk.clock())
    async with asyncio.TaskGroup() as group:
        checks = {
            step.path: group.create_task(_check(step, incident, values, tools=desk.tools)) for step in verify.checks
        }
    return {path: check.result() for path, check in checks.items()}


def judge_health(incident: Incident, verify: Verify, signs: Mapping[str, Sign], *, desk: Desk) -> Move:
    """Pure but for the clock: what the signs mean now."""
    now = desk.clock()
    healthy = bool(signs) and all(sign.healthy for sign in signs.values())
    since = (incident.progress.healthy_since or now) if healthy else None
    progress = replace(incident.progress, healthy_since=since, checked=_in_words(signs))
    entries = _told(signs) if progress.checked != incident.progress.checked else ()
    if since is not None and now - since >= verify.steady_for:
        return _proven(incident, progress, desk, entries=entries)
    deadline = (incident.progress.fixed_at or now) + verify.within
    if since is None and now >= deadline:
        return _ineffective(incident, progress, verify, entries=entries)
    ripe = since + verify.steady_for if since is not None else deadline
    wait = min(desk.recheck, max(ripe - now, timedelta(milliseconds=100)))
    return Move(Phase.FIXED, progress, entries=entries, wake_in=wait)


async def _check(step: Step[Check], incident: Incident, values: Mapping[str, object], *, tools: Toolbox) -> Sign:
    try:
        check = step.build(values)
        async with asyncio.timeout(check.timeout.total_seconds()):
            return await check.passes(incident, tools)
    except TimeoutError:
        return Sign(healthy=False, detail="timed out")
    except RemediatorError as error:
        return Sign(healthy=False, detail=str(error))
    except Exception as error:  # a bug in one check must not pass for health, nor stop the incident
        log.exception("check failed", step=step.path, incident=incident.id)
        return Sign(healthy=False, detail=f"{type(error).__name__}: {error}")


def _proven(incident: Incident, progress: Progress, desk: Desk, *, entries: tuple[Entry, ...]) -> Move:
    done = progress.plan.summary if progress.plan else "the fix"
    proof = Entry(EntryKind.VERIFIED, f"proven: {progress.checked}", "verify")
    move = close.resolved(incident, desk, f"fixed: {done}", f"fixed by remediator: {done}", progress=progress)
    return replace(move, entries=(*entries, proof, *move.entries))


def _ineffective(incident: Incident, progress: Progress, verify: Verify, *, entries: tuple[Entry, ...]) -> Move:
    """The next step is chosen on fresh facts; a person is told now, whatever that step may bring."""
    failed = Entry(
        EntryKind.CHECK, f"not healthy within {format_duration(verify.within)}: {progress.checked}", "verify"
    )
    return Move(
        Phase.OPENED,
        progress.attempted(AttemptResult.INEFFECTIVE, failed.message),
        entries=(*entries, failed),
        pages=PageOrder.NOW,
    )


def _in_words(signs: Mapping[str, Sign]) -> str:
    return "; ".join(f"{'ok' if sign.healthy else 'NOT ok'}: {sign.detail}" for sign in signs.values())


def _told(signs: Mapping[str, Sign]) -> tuple[Entry, ...]:
    return tuple(
        Entry(EntryKind.CHECK, f"{'ok' if sign.healthy else 'not ok'}: {sign.detail}", path, {"healthy": sign.healthy})
        for path, sign in signs.items()
    )
