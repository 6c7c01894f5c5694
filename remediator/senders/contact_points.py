"""What is wrong with a contact point of Grafana's that leads to us, as far as its alertmanager API tells of it."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from remediator.language.document import Document, Path, Problem
from remediator.senders.receivers import GRAFANAS_PATH, Receiver, Webhook, integrations_of
from remediator.senders.webhooks import RESOLVES_KEPT_BACK, cut_off, path_problems

SIGNATURE_HEADER = "X-Grafana-Alerting-Signature"
TIMESTAMP_HEADER = "X-Grafana-Alerting-Timestamp"
"""What our settings want it to be called where they do not say otherwise."""


def contact_point_problems(
    document: Document, receiver: Receiver, timestamp_headers: Collection[str]
) -> Iterator[Problem]:
    ours = {hook.path[:-1]: hook for hook in receiver.our_webhooks}
    if not ours:
        kinds = sorted({repr(str(point.get("type"))) for _, point in integrations_of(receiver.entry, receiver.path)})
        yield document.problem(
            receiver.path,
            f"the contact point {receiver.name!r} has no webhook (it has: {', '.join(kinds) or 'nothing'}): we are "
            "never told anything",
            hint=f"add the integration Webhook, with a URL that ends in {GRAFANAS_PATH}",
        )
    for place, point in integrations_of(receiver.entry, receiver.path):
        if place in ours:
            if point.get("disableResolveMessage") is True:
                yield document.problem(
                    (*place, "disableResolveMessage"),
                    RESOLVES_KEPT_BACK,
                    hint="switch `Disable resolved message` off",
                )
            yield from _settings_problems(document, ours[place], timestamp_headers)


def untold(receivers: Sequence[Receiver]) -> str:
    """What a look at Grafana's provisioning API would show, and this one does not."""
    hooks = [hook for receiver in receivers for hook in receiver.our_webhooks]
    parts = ["login"]
    if not any(_part(hook, "hmacConfig") for hook in hooks):
        parts.append("signature")
    if any(hook.address is None for hook in hooks):
        parts.append("URL")
    listed = ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]
    return f"the contact point's {listed}: Grafana keeps those to its provisioning API"


def _settings_problems(document: Document, hook: Webhook, timestamp_headers: Collection[str]) -> Iterator[Problem]:
    most = hook.settings.get("maxAlerts")
    if most and str(most) != "0":
        yield document.problem((*hook.path, "maxAlerts"), cut_off(most), hint="set `Max alerts` to 0")
    if _part(hook, "payload").get("template"):
        yield document.problem(
            (*hook.path, "payload"),
            "a custom payload cannot be read: every delivery is answered 400",
            hint="empty `Payload Template` under `Custom Payload`",
        )
    yield from path_problems(document, hook, wanted=GRAFANAS_PATH)
    if "hmacConfig" in hook.settings:
        yield from _signature_problems(document, hook, timestamp_headers)


def _signature_problems(document: Document, hook: Webhook, timestamp_headers: Collection[str]) -> Iterator[Problem]:
    path: Path = (*hook.path, "hmacConfig")
    signed = _part(hook, "hmacConfig")
    stamp, header = (str(signed.get(key) or "") for key in ("timestampHeader", "header"))
    wanted = " or ".join(sorted(timestamp_headers)) or TIMESTAMP_HEADER
    if not stamp:
        yield document.problem(
            path,
            "its signature has no timestamp, so that anybody could send it again: every delivery is answered 401",
            hint=f"HMAC Signature, `Timestamp header`: {wanted}",
        )
    elif timestamp_headers and not _is_one_of(stamp, timestamp_headers):
        yield document.problem(
            (*path, "timestampHeader"),
            f"its timestamp comes in {stamp!r}, and the settings look for it in {wanted}: every delivery is answered "
            "401",
            hint=f"`Timestamp header`: {wanted}, or the settings: webhooks: {{ grafana: {{ <name>: {{ "
            f"timestamp_header: {stamp!r} }} }} }}",
        )
    if header and not _is_one_of(header, {SIGNATURE_HEADER}):
        yield document.problem(
            (*path, "header"),
            f"its signature comes in {header!r}, where nobody looks: a delivery with no other login is answered 401",
            hint=f"HMAC Signature, `Header`: {SIGNATURE_HEADER}",
        )


def _part(hook: Webhook, name: str) -> Mapping[str, object]:
    part = hook.settings.get(name)
    return part if isinstance(part, Mapping) else {}


def _is_one_of(header: str, wanted: Collection[str]) -> bool:
    return header.lower() in {each.lower() for each in wanted}
