"""What a page says. Plain text, worst news first; each notifier escapes it for its own sink."""

from dataclasses import dataclass
from urllib.parse import quote

from remediator.domain.incident import Incident
from remediator.domain.notification import Notification, NotificationKind
from remediator.engine.links import Links


@dataclass(frozen=True, slots=True)
class PageWriter:
    """Knows the addresses that people reach us by."""

    public_url: str
    links: Links

    def page(self, incident: Incident, *, recipient: str, dedup_key: str, kind: NotificationKind) -> Notification:
        return Notification(
            incident=incident.id,
            kind=kind,
            dedup_key=dedup_key,
            recipient=recipient,
            channel="",
            address="",
            title=_title(incident, kind),
            severity=incident.severity,
            body=_body(incident, kind),
            acknowledge_url=self._acknowledge_url(incident, recipient) if kind is NotificationKind.PAGE else "",
            incident_url=f"{self.public_url}/incidents/{incident.id}",
        )

    def _acknowledge_url(self, incident: Incident, recipient: str) -> str:
        token = self.links.sign(incident.id, recipient)
        return f"{self.public_url}/incidents/{incident.id}/acknowledge?token={quote(token, safe='')}"


def _title(incident: Incident, kind: NotificationKind) -> str:
    match kind:
        case NotificationKind.RESOLVED:
            return f"Resolved: {incident.title}"
        case NotificationKind.REVIEW:
            return f"[dry run] {incident.title}"
        case _:
            return incident.title


def _body(incident: Incident, kind: NotificationKind) -> str:
    lines = [f"incident {incident.id}, severity {incident.severity}, rule {incident.rule}"]
    if incident.target is not None:
        lines.append(f"target: {incident.target}")
    lines += [f"{name}: {finding.summary}" for name, finding in incident.progress.findings.items()]
    if incident.progress.plan is not None:
        lines.append(f"plan {incident.progress.plan.digest}: {incident.progress.plan.summary}")
    if kind is NotificationKind.RESOLVED:
        lines.append(incident.resolution)
    if summary := incident.alert.annotations.get("summary"):
        lines.append(summary)
    return "\n".join(lines)
