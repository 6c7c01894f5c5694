"""What is wrong with the way alerts are sent to us. Each problem says what, why, and what to do about it.

Errors lose alerts or resolves, have them refused, or eat a part of the response time that hurts; the rest is warnings.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import SplitResult, urlsplit

from remediator.domain.episode import STALE_FOR
from remediator.language.document import Document, Path, Problem, Severity
from remediator.language.duration import format_duration
from remediator.senders.routes import Route, resolve_timeout_of, routes_of

_AUTH = ("authorization", "basic_auth", "oauth2", "bearer_token", "bearer_token_file")
_KEPT_BACK = """the contact point's login, signature and URL: Grafana keeps those to its provisioning API"""
_OUR_PATHS = ("/webhooks/alertmanager", "/webhooks/grafana")


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


@dataclass(frozen=True, slots=True)
class _Webhook:
    path: Path
    settings: Mapping[str, object]


def lint_alertmanager(document: Document, receiver: str, *, is_polled: bool) -> tuple[Problem, ...]:
    """Of `alertmanager.yml`, or of what a running Alertmanager says it was given; secrets may be blanked. `is_polled`:
    our settings name its peers."""
    entry = _named(document, receiver)
    if entry is None:
        return (_no_receiver(document, receiver),)
    path, found = entry
    hooks = list(_our_webhooks(found, path))
    if not hooks:
        return (document.problem(path, f"the receiver {receiver!r} has no webhook", hint="add webhook_configs"),)
    problems = [problem for hook in hooks for problem in _webhook_problems(document, hook)]
    unpolled = () if is_polled else _unpolled_problems(document, receiver)
    return _in_order([*problems, *_route_problems(document, receiver), *unpolled])


def lint_grafana(document: Document, receiver: str) -> tuple[tuple[Problem, ...], tuple[str, ...]]:
    """Of what Grafana's alertmanager API tells of its configuration. The second part is what that does not say."""
    if not isinstance(document.data.get("route"), Mapping):
        return (), ("everything: this login is not told the configuration (it takes the role Admin)",)
    entry = _named(document, receiver)
    if entry is None:
        return (_no_receiver(document, receiver),), ()
    path, found = entry
    points = found.get("grafana_managed_receiver_configs")
    problems = [
        problem
        for number, point in enumerate(points if isinstance(points, list) else ())
        for problem in _contact_point_problems(document, point, (*path, "grafana_managed_receiver_configs", number))
    ]
    return _in_order([*problems, *_route_problems(document, receiver)]), (_KEPT_BACK,)


def receiver_by_address(document: Document) -> str | None:
    """The name of the receiver whose webhook leads to a path of ours, where addresses are not blanked."""
    for _, entry in _receivers(document):
        for hook in _webhooks(entry, ()):
            if _is_ours(hook):
                return str(entry.get("name"))
    return None


def _webhook_problems(document: Document, hook: _Webhook) -> Iterator[Problem]:
    settings = hook.settings
    if settings.get("send_resolved") is False:
        yield document.problem(
            (*hook.path, "send_resolved"),
            "resolved alerts are not sent: incidents stay open, and fixes begin for what has ended",
            hint="send_resolved: true",
        )
    if settings.get("max_alerts"):
        yield document.problem(
            (*hook.path, "max_alerts"),
            f"all but {settings['max_alerts']!r} alerts of a group are cut off, always the same ones",
            hint="max_alerts: 0",
        )
    if "payload" in settings:
        yield document.problem(
            (*hook.path, "payload"), "a custom payload cannot be read: every delivery is refused", hint="take it out"
        )
    yield from _login_problems(document, hook)
    yield from _transport_problems(document, hook)


def _login_problems(document: Document, hook: _Webhook) -> Iterator[Problem]:
    if not _address(hook).username and not any(_http_config(document, hook).get(key) for key in _AUTH):
        yield document.problem(
            hook.path,
            "it sends no login: every delivery is answered 401",
            hint="http_config: { authorization: { credentials_file: ... } }, a token of REMEDIATOR_WEBHOOKS__TOKENS",
        )


def _transport_problems(document: Document, hook: _Webhook) -> Iterator[Problem]:
    if str(hook.settings.get("timeout") or "0s") in {"0", "0s"}:
        yield document.problem(
            (*hook.path, "timeout"),
            "no time-out: one request that hangs takes the time of all others of its flush",
            hint="timeout: 10s (Alertmanager 0.28 or later)",
            severity=Severity.WARNING,
        )
    plain = _address(hook).scheme == "http"
    if plain and _http_config(document, hook).get("follow_redirects") is not False:
        yield document.problem(
            (*hook.path, "url"),
            "plain http, redirects followed: one to https turns the POST into a GET and loses its body",
            hint="an https URL, or http_config: { follow_redirects: false }",
            severity=Severity.WARNING,
        )


def _contact_point_problems(document: Document, point: object, path: Path) -> Iterator[Problem]:
    if not isinstance(point, Mapping) or point.get("type") != "webhook":
        return
    if point.get("disableResolveMessage") is True:
        yield document.problem(
            (*path, "disableResolveMessage"),
            "resolved alerts are not sent: incidents stay open, and fixes begin for what has ended",
            hint="switch `Disable resolved message` off",
        )
    settings = point.get("settings")
    most = settings.get("maxAlerts") if isinstance(settings, Mapping) else None
    if most and str(most) != "0":
        yield document.problem(
            (*path, "settings", "maxAlerts"),
            f"all but {most!r} alerts of a group are cut off, always the same ones",
            hint="set `Max alerts` to 0",
        )


def _route_problems(document: Document, receiver: str) -> Iterator[Problem]:
    leading = [route for route in routes_of(document) if route.receiver == receiver]
    if not leading:
        yield document.problem(
            ("route",), f"no route leads to the receiver {receiver!r}: it is never told anything", hint="add one"
        )
    told: set[Path] = set()
    for route in leading:
        yield from _reach_problems(document, route, leading)
        for problem_path, problem in _timing_problems(document, route):
            if problem_path not in told:  # a timer that many routes inherit is one problem
                told.add(problem_path)
                yield problem


def _reach_problems(document: Document, route: Route, leading: Sequence[Route]) -> Iterator[Problem]:
    if route.shadowed_by is not None:
        yield document.problem(
            route.path,
            f"{_spelled(route.path)} is never reached: {_spelled(route.shadowed_by)} matches every alert before it",
            hint="put it first, or give the other one `continue: true`",
        )
    if route.overtaken_by is not None and not any(_is_below(other, route.overtaken_by) for other in leading):
        yield document.problem(
            route.path,
            f"{_spelled(route.path)} is never told: {_spelled(route.overtaken_by)} below it matches every alert, and "
            "`continue` leads to its siblings only",
            hint="a child of its own for the receiver, before that one, with `continue: true`",
        )
    if route.muted_by is not None:
        yield document.problem(
            route.muted_by,
            "in these times alerts and their ends are not sent",
            hint="poll the source (settings `sources`), which sees them when the time is over",
            severity=Severity.WARNING,
        )


def _is_below(route: Route, path: Path) -> bool:
    return route.path[: len(path)] == path


def _timing_problems(document: Document, route: Route) -> Iterator[tuple[Path, Problem]]:
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


def _unpolled_problems(document: Document, receiver: str) -> Iterator[Problem]:
    """Told once. A relapse is heard at once, whatever `group_interval` says: its group is a new one. So soon after the
    end it looks like a message that was overtaken, and to the sender it is told: only the next repetition would tell it
    again. A warning: what the settings of the daemon say is not in this file."""
    leading = [route for route in routes_of(document) if route.receiver == receiver]
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


def _no_receiver(document: Document, receiver: str) -> Problem:
    names = ", ".join(repr(str(entry.get("name"))) for _, entry in _receivers(document)) or "none"
    by_address = receiver_by_address(document)
    hint = (
        f"{by_address!r} posts to us: name it in the settings (sources, receiver)" if by_address else f"known: {names}"
    )
    return document.problem(("receivers",), f"there is no receiver {receiver!r}", hint=hint)


def _named(document: Document, receiver: str) -> tuple[Path, Mapping[str, object]] | None:
    return next((each for each in _receivers(document) if each[1].get("name") == receiver), None)


def _receivers(document: Document) -> Iterator[tuple[Path, Mapping[str, object]]]:
    receivers = document.data.get("receivers")
    for number, entry in enumerate(receivers if isinstance(receivers, list) else ()):
        if isinstance(entry, Mapping):
            yield ("receivers", number), entry


def _our_webhooks(entry: Mapping[str, object], path: Path) -> Sequence[_Webhook]:
    """Those that lead to a path of ours; all of them where no address says so (newer versions blank them)."""
    hooks = list(_webhooks(entry, path))
    return [hook for hook in hooks if _is_ours(hook)] or hooks


def _webhooks(entry: Mapping[str, object], path: Path) -> Iterator[_Webhook]:
    configs = entry.get("webhook_configs")
    for number, settings in enumerate(configs if isinstance(configs, list) else ()):
        if isinstance(settings, Mapping):
            yield _Webhook((*path, "webhook_configs", number), settings)


def _is_ours(hook: _Webhook) -> bool:
    return _address(hook).path.rstrip("/").endswith(_OUR_PATHS)


def _address(hook: _Webhook) -> SplitResult:
    try:
        return urlsplit(str(hook.settings.get("url") or ""))
    except ValueError:
        return urlsplit("")


def _http_config(document: Document, hook: _Webhook) -> Mapping[str, object]:
    """Its own, or else the global one."""
    own = hook.settings.get("http_config")
    everybodys = document.data.get("global")
    shared = everybodys.get("http_config") if isinstance(everybodys, Mapping) else None
    chosen = own if isinstance(own, Mapping) else shared
    return chosen if isinstance(chosen, Mapping) else {}


def _spelled(path: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def _in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda each: (each.line, each.column)))
