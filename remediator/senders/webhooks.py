"""What is wrong with a webhook of Alertmanager's that leads to us."""

from collections.abc import Iterator, Mapping

from remediator.language.document import Document, Problem, Severity
from remediator.senders.receivers import ALERTMANAGERS_PATH, GRAFANAS_PATH, Webhook

RESOLVES_KEPT_BACK = "resolved alerts are not sent: incidents stay open, and fixes begin for what has ended"
_AUTH = ("authorization", "basic_auth", "oauth2", "bearer_token", "bearer_token_file")


def webhook_problems(document: Document, hook: Webhook) -> Iterator[Problem]:
    settings = hook.settings
    if settings.get("send_resolved") is False:
        yield document.problem((*hook.path, "send_resolved"), RESOLVES_KEPT_BACK, hint="send_resolved: true")
    if settings.get("max_alerts"):
        yield document.problem((*hook.path, "max_alerts"), cut_off(settings["max_alerts"]), hint="max_alerts: 0")
    if settings.get("payload") is not None:
        yield document.problem(
            (*hook.path, "payload"), "a custom payload cannot be read: every delivery is refused", hint="take it out"
        )
    yield from path_problems(document, hook, wanted=ALERTMANAGERS_PATH)
    yield from _login_problems(document, hook)
    yield from _transport_problems(document, hook)


def cut_off(most: object) -> str:
    return f"all but {most!r} alerts of a group are cut off, always the same ones"


def path_problems(document: Document, hook: Webhook, *, wanted: str) -> Iterator[Problem]:
    """A proxy's prefix before it is fine; nothing may come after it."""
    address = hook.address
    if address is None or address.path.endswith(wanted):
        return
    if address.path.endswith((ALERTMANAGERS_PATH, GRAFANAS_PATH)):
        why = "that is for another kind of sender: every delivery is answered 400"
    else:
        why = "nothing of ours listens there: every delivery is answered 404"
    yield document.problem(
        (*hook.path, "url"),
        f"the path of its URL is {address.path or '/'!r}, and must end in {wanted}: {why}",
        hint=f"a URL that ends in {wanted}; what a proxy wants may come before it",
    )


def _login_problems(document: Document, hook: Webhook) -> Iterator[Problem]:
    address = hook.address
    has_login = any(_http_config(document, hook).get(key) for key in _AUTH)
    if address is None:
        login = "" if has_login else ", and whether a login is in it (http_config has none)"
        yield document.problem(
            hook.path,
            f"not checked: whether its URL, {_kept_back(hook)}, ends in {ALERTMANAGERS_PATH}{login}",
            hint="check the file itself; a login is best kept in http_config.authorization",
            severity=Severity.NOTE,
        )
    elif not address.username and not has_login:
        yield document.problem(
            hook.path,
            "it sends no login: every delivery is answered 401",
            hint="http_config: { authorization: { credentials_file: ... } }, a token of REMEDIATOR_WEBHOOKS__TOKENS",
        )


def _kept_back(hook: Webhook) -> str:
    if hook.settings.get("url_file"):
        return "which is kept in a file"
    return "which is blanked" if hook.settings.get("url") == "<secret>" else "which cannot be read as one"


def _transport_problems(document: Document, hook: Webhook) -> Iterator[Problem]:
    if str(hook.settings.get("timeout") or "0s") in {"0", "0s"}:
        yield document.problem(
            (*hook.path, "timeout"),
            "no time-out: one request that hangs takes the time of all others of its flush",
            hint="timeout: 10s (Alertmanager 0.28 or later)",
            severity=Severity.WARNING,
        )
    is_plain = hook.address is not None and hook.address.scheme == "http"
    if is_plain and _http_config(document, hook).get("follow_redirects") is not False:
        yield document.problem(
            (*hook.path, "url"),
            "plain http, redirects followed: one to https turns the POST into a GET and loses its body",
            hint="an https URL, or http_config: { follow_redirects: false }",
            severity=Severity.WARNING,
        )


def _http_config(document: Document, hook: Webhook) -> Mapping[str, object]:
    """Its own, or else the global one."""
    own = hook.settings.get("http_config")
    everybodys = document.data.get("global")
    shared = everybodys.get("http_config") if isinstance(everybodys, Mapping) else None
    chosen = own if isinstance(own, Mapping) else shared
    return chosen if isinstance(chosen, Mapping) else {}
