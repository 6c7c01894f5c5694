"""The routing tree of Alertmanager, and Grafana's copy of it: who is told of what, and with what timing."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from remediator.language.document import Document, Path
from remediator.language.duration import DurationError, parse_duration
from remediator.senders.matching import OF_THE_ROUTE, Asked, asked_by

TIMERS = {
    "group_wait": timedelta(seconds=30),
    "group_interval": timedelta(minutes=5),
    "repeat_interval": timedelta(hours=4),
}
"""What holds where no route says otherwise, in both programs."""
RESOLVE_TIMEOUT = timedelta(minutes=5)
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
    asked: Asked = ()
    asked_at: Path = ()
    """Where its matchers are written; the route itself where it has none."""
    goes_on: bool = False
    """`continue`: its later siblings are asked too."""
    muted_by: Path | None = None
    """Where times are named in which it notifies nobody."""
    children: tuple["Route", ...] = ()
    """It is told of what none of these matches."""

    def all_below(self) -> Iterator["Route"]:
        """Itself first."""
        yield self
        for child in self.children:
            yield from child.all_below()


def tree_of(document: Document) -> Route | None:
    """A child inherits what it does not say."""
    root = document.data.get("route")
    if not isinstance(root, Mapping):
        return None
    return _read(root, Route(("route",), "", {name: Timer(value) for name, value in TIMERS.items()}))


def routes_of(document: Document) -> Iterator[Route]:
    """The root first."""
    root = tree_of(document)
    if root is not None:
        yield from root.all_below()


@dataclass(frozen=True, slots=True)
class Reception:
    """When a receiver is told of an alert, as far as its routes say."""

    group_wait: timedelta = TIMERS["group_wait"]
    """The longest of its routes: which of them an alert takes is not asked here."""
    group_interval: timedelta = TIMERS["group_interval"]
    has_mute_times: bool = False
    """A route of it names times in which it notifies nobody."""


def reception_of(document: Document, receiver: str) -> Reception:
    """Mute times are not inherited: each route has its own. A route that no alert reaches counts too: to wait longer
    for a poll is the lesser harm, and `sources check` tells of it."""
    leading = [route for route in routes_of(document) if route.receiver == receiver]
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


def spelled_path(path: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _read(node: Mapping[str, object], inherited: Route) -> Route:
    """`inherited` is its parent, at the path of the child."""
    route = _told(node, inherited)
    written = node.get("routes")
    return replace(
        route,
        children=tuple(
            _read(child, replace(route, path=(*route.path, "routes", number)))
            for number, child in enumerate(written if isinstance(written, list) else ())
            if isinstance(child, Mapping) and len(route.path) < _DEEPEST
        ),
    )


def _told(node: Mapping[str, object], inherited: Route) -> Route:
    path, timers = inherited.path, dict(inherited.timers)
    for name in TIMERS:
        written = _duration(node.get(name))
        if written is not None:
            timers[name] = Timer(written, (*path, name))
    muting = next((key for key in ("mute_time_intervals", "active_time_intervals") if node.get(key)), None)
    asking = next((key for key in OF_THE_ROUTE if node.get(key)), None)
    return Route(
        path,
        str(node.get("receiver") or inherited.receiver),
        timers,
        asked=asked_by(node),
        asked_at=(*path, asking) if asking else path,
        goes_on=node.get("continue") is True,
        muted_by=(*path, muting) if muting else None,
    )


def _duration(written: object) -> timedelta | None:
    """None where there is none, or none that we can read: it is the sender's own business to refuse it."""
    try:
        return parse_duration(str(written)) if written is not None else None
    except DurationError:
        return None
