"""Receivers, their webhooks and where these lead, as far as the sender tells it: running ones blank what is secret."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from remediator.language.document import Document, Path

ALERTMANAGERS_PATH, GRAFANAS_PATH = "/webhooks/alertmanager", "/webhooks/grafana"


@dataclass(frozen=True, slots=True)
class Webhook:
    path: Path
    settings: Mapping[str, object]

    @property
    def address(self) -> SplitResult | None:
        """None where it is not told: blanked (`<secret>`), kept in a file, made by a template, or no URL at all."""
        url = str(self.settings.get("url") or "")
        try:
            address = urlsplit(url)
        except ValueError:
            return None
        return address if address.scheme in {"http", "https"} and "{{" not in url else None

    @property
    def is_ours(self) -> bool:
        """As far as its address says so."""
        address = self.address
        return address is not None and address.path.rstrip("/").endswith((ALERTMANAGERS_PATH, GRAFANAS_PATH))


@dataclass(frozen=True, slots=True)
class Receiver:
    path: Path
    name: str
    entry: Mapping[str, object]
    webhooks: Sequence[Webhook]
    """Of Grafana's: those of its contact point."""

    @property
    def our_webhooks(self) -> Sequence[Webhook]:
        """Those that lead to us; where no address says so, those that do not tell theirs; where all tell it, all."""
        return (
            [hook for hook in self.webhooks if hook.is_ours]
            or [hook for hook in self.webhooks if hook.address is None]
            or self.webhooks
        )


def receivers_of(document: Document) -> Iterator[Receiver]:
    written = document.data.get("receivers")
    for number, entry in enumerate(written if isinstance(written, list) else ()):
        if isinstance(entry, Mapping):
            path = ("receivers", number)
            hooks = [*_webhooks(entry, path), *_webhook_integrations(entry, path)]
            yield Receiver(path, str(entry.get("name")), entry, hooks)


def ours_among(receivers: Sequence[Receiver], named: str) -> Sequence[Receiver]:
    """The one that our settings name, first, and every other that posts to us."""
    first = [receiver for receiver in receivers if receiver.name == named][:1]
    others = [each for each in receivers if each.name != named and any(hook.is_ours for hook in each.webhooks)]
    return [*first, *others]


def _webhooks(entry: Mapping[str, object], path: Path) -> Iterator[Webhook]:
    configs = entry.get("webhook_configs")
    for number, settings in enumerate(configs if isinstance(configs, list) else ()):
        if isinstance(settings, Mapping):
            yield Webhook((*path, "webhook_configs", number), settings)


def _webhook_integrations(entry: Mapping[str, object], path: Path) -> Iterator[Webhook]:
    for place, point in integrations_of(entry, path):
        if point.get("type") == "webhook":
            settings = point.get("settings")
            yield Webhook((*place, "settings"), settings if isinstance(settings, Mapping) else {})


def integrations_of(entry: Mapping[str, object], path: Path) -> Iterator[tuple[Path, Mapping[str, object]]]:
    """What a contact point of Grafana's consists of: one of them may be a webhook, another a mail."""
    points = entry.get("grafana_managed_receiver_configs")
    for number, point in enumerate(points if isinstance(points, list) else ()):
        if isinstance(point, Mapping):
            yield (*path, "grafana_managed_receiver_configs", number), point
