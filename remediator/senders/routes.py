"""The routing tree of Alertmanager, and Grafana's copy of it: which routes lead to a receiver, and with what timing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from remediator.language.document import Document, Path
from remediator.language.duration import DurationError, parse_duration

TIMERS = {
    "group_wait": timedelta(seconds=30),
    "group_interval": timedelta(minutes=5),
    "repeat_interval": timedelta(hours=4),
}
"""What holds where no route says otherwise, in both programs."""
RESOLVE_TIMEOUT = timedelta(minutes=5)
_MATCHERS = ("match", "match_re", "matchers", "object_matchers")
_DEEPEST = 40


@dataclass(frozen=True, slots=True)
class Timer:
    value: timedelta
    written_at: Path | None = None
    """None: nobody wrote it, it is the default."""


@dataclass(frozen=True, slots=True)
class Route:
    path: Path
    receiver: str
    timers: Mapping[str, Timer]
    muted_by: Path | None = None
    """Where times are named in which it notifies nobody."""
    shadowed_by: Path | None = None
    """An earlier sibling, of it or of a route above it, that takes every alert first."""
    overtaken_by: Path | None = None
    """A child that takes every alert: a route is told of what none of its children matches."""


def routes_of(document: Document) -> Iterator[Route]:
    """The root first. A child inherits what it does not say."""
    root = document.data.get("route")
    if isinstance(root, Mapping):
        start = Route(("route",), "", {name: Timer(value) for name, value in TIMERS.items()})
        yield from _walk(root, start)


@dataclass(frozen=True, slots=True)
class Reception:
    """When a receiver is told of an alert, as far as its routes say."""

    group_wait: timedelta = TIMERS["group_wait"]
    """The longest of its routes: which of them an alert takes is not asked here."""
    group_interval: timedelta = TIMERS["group_interval"]
    has_mute_times: bool = False
    """A route of it names times in which it notifies nobody."""


def reception_of(document: Document, receiver: str) -> Reception:
    """Mute times are not inherited: each route has its own. Routes that no alert takes do not count."""
    leading = [
        route
        for route in routes_of(document)
        if route.receiver == receiver and route.shadowed_by is None and route.overtaken_by is None
    ]
    if not leading:
        return Reception()
    return Reception(
        max(route.timers["group_wait"].value for route in leading),
        max(route.timers["group_interval"].value for route in leading),
        has_mute_times=any(route.muted_by is not None for route in leading),
    )


def resolve_timeout_of(document: Document) -> timedelta:
    """After which an alert ends that is not told again, where its sender did not say when."""
    everybodys = document.data.get("global")
    written = _duration(everybodys.get("resolve_timeout")) if isinstance(everybodys, Mapping) else None
    return RESOLVE_TIMEOUT if written is None else written


def _walk(node: Mapping[str, object], inherited: Route) -> Iterator[Route]:
    route = _told(node, inherited)
    written = node.get("routes")
    children = {
        (*route.path, "routes", number): child
        for number, child in enumerate(written if isinstance(written, list) else ())
        if isinstance(child, Mapping) and len(route.path) < _DEEPEST
    }
    yield replace(route, overtaken_by=next((path for path, child in children.items() if _takes_all(child)), None))
    shadowed_by = route.shadowed_by
    for path, child in children.items():
        yield from _walk(child, replace(route, path=path, muted_by=None, shadowed_by=shadowed_by))
        if _takes_all(child) and child.get("continue") is not True:
            shadowed_by = shadowed_by or path


def _takes_all(node: Mapping[str, object]) -> bool:
    return not any(node.get(key) for key in _MATCHERS)


def _told(node: Mapping[str, object], inherited: Route) -> Route:
    timers = dict(inherited.timers)
    for name in TIMERS:
        written = _duration(node.get(name))
        if written is not None:
            timers[name] = Timer(written, (*inherited.path, name))
    muting = next((key for key in ("mute_time_intervals", "active_time_intervals") if node.get(key)), None)
    return replace(
        inherited,
        receiver=str(node.get("receiver") or inherited.receiver),
        timers=timers,
        muted_by=(*inherited.path, muting) if muting else None,
    )


def _duration(written: object) -> timedelta | None:
    """None where there is none, or none that we can read: it is the sender's own business to refuse it."""
    try:
        return parse_duration(str(written)) if written is not None else None
    except DurationError:
        return None
