"""When alerts reach us by the routes that lead to us: late ones, and those that only polls would bring."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from remediator.domain.episode import STALE_FOR
from remediator.language.document import Document, Path, Problem, Severity
from remediator.language.duration import format_duration
from remediator.senders.routes import Route, resolve_timeout_of


@dataclass(frozen=True, slots=True)
class _Limit:
    most: timedelta
    advice: str
    why: str


_LIMITS = {
    "group_wait": _Limit(timedelta(seconds=10), "5s", "every first alert of a group reaches us that much later"),
    "group_interval": _Limit(timedelta(minutes=1), "1m", "an alert that joins a group waits that long, unheard"),
    "repeat_interval": _Limit(
        timedelta(hours=4),
        "1h",
        "an alert that resolved while it was silenced stays unheard that long when it fires anew",
    ),
}


def timing_problems(document: Document, leading: Sequence[Route]) -> Iterator[Problem]:
    told: set[Path] = set()
    for route in leading:
        for path, problem in _slow_timers(document, route):
            if path not in told:  # a timer that many routes inherit is one problem
                told.add(path)
                yield problem
        if route.muted_by is not None:
            yield document.problem(
                route.muted_by,
                "in these times alerts and their ends are not sent",
                hint="mute the routes that lead to people, not this one: a muted alert is not sent, and polls of "
                "releases that do not tell mute times (Alertmanager before 0.28) cannot tell it from one that was lost",
                severity=Severity.WARNING,
            )


def unpolled_problems(document: Document, leading: Sequence[Route], receiver: str) -> Iterator[Problem]:
    """Told once. A relapse is heard at once, whatever `group_interval` says: its group is a new one. So soon after the
    end it looks like a message that was overtaken, and to the sender it is told: only the next repetition would tell it
    again. A warning: what the settings of the daemon say is not in this file."""
    slowest = max(leading, key=lambda route: route.timers["repeat_interval"].value, default=None)
    if slowest is None or slowest.timers["repeat_interval"].value <= STALE_FOR:
        return
    repeat, silent_for = slowest.timers["repeat_interval"], format_duration(resolve_timeout_of(document))
    relapse = f"told again within {format_duration(STALE_FOR)}, with its old start"
    yield document.problem(
        repeat.written_at or slowest.path,
        f"repeat_interval is {format_duration(repeat.value)}, and the settings do not poll for {receiver!r}: polling "
        f"is necessary. An alert that ended by time-out (its sender stalled, or did not tell it for {silent_for}) and "
        f"is {relapse}, looks like a late message; it is heard at the next repetition",
        hint=f"name every peer in the settings: sources: {{ alertmanager: {{ peers: [...], receiver: {receiver} }} }}",
        severity=Severity.WARNING,
    )


def _slow_timers(document: Document, route: Route) -> Iterator[tuple[Path, Problem]]:
    for name, limit in _LIMITS.items():
        timer = route.timers[name]
        if timer.value > limit.most:
            path = timer.written_at or (*route.path, name)
            told = f"{name} is {format_duration(timer.value)}" + ("" if timer.written_at else ", the default")
            yield (
                timer.written_at or ("default", name),
                document.problem(
                    path, f"{told}, on the way to {route.receiver!r}: {limit.why}", hint=f"{name}: {limit.advice}"
                ),
            )
