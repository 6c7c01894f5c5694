"""What a page says. Plain text, worst news first; each notifier escapes it for its own sink."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from urllib.parse import quote

from msgspec.structs import replace

from remediator.domain.briefing import Briefing, briefing_on
from remediator.domain.guidance import Guidance
from remediator.domain.ids import IncidentId
from remediator.domain.incident import Incident
from remediator.domain.notification import Notification, NotificationKind
from remediator.engine.links import Links

MOST_LINKS = 5
"""On a page; the incident's own has all of them."""
LONGEST_SUMMARY = 200


@dataclass(frozen=True, slots=True)
class PageWriter:
    """Knows the addresses that people reach us by."""

    public_url: str
    links: Links

    @property
    def incidents_url(self) -> str:
        """An incident's own is this and its number."""
        return f"{self.public_url}/incidents/"

    def page(self, about: Briefing, *, recipient: str, dedup_key: str, kind: NotificationKind) -> Notification:
        return Notification(
            incident=about.incident,
            kind=kind,
            dedup_key=dedup_key,
            recipient=recipient,
            channel="",
            address="",
            title=_title(about, kind),
            severity=about.severity,
            body=_body(about, kind),
            acknowledge_url=self.acknowledge_url(about.incident, recipient) if kind is NotificationKind.PAGE else "",
            incident_url=f"{self.incidents_url}{about.incident}",
            links=links_on_a_page(about.guidance),
        )

    def left_behind(
        self, incident: Incident, told: Sequence[str], *, recipient: str, dedup_key: str, kind: NotificationKind
    ) -> Notification:
        """Without a link to acknowledge by: that would be the incident, not this."""
        note = self.page(briefing_on(incident), recipient=recipient, dedup_key=dedup_key, kind=kind)
        body = "\n".join((*told, "nothing takes it back any more: a person must look", note.body))
        return replace(note, title=f"Change left behind: {note.title}", body=body, acknowledge_url="")

    def acknowledge_url(self, incident: IncidentId, recipient: str) -> str:
        token = self.links.sign(incident, recipient)
        return f"{self.incidents_url}{incident}/acknowledge?token={quote(token, safe='')}"


def links_on_a_page(guidance: Guidance) -> Mapping[str, str]:
    return dict(islice(guidance.links.items(), MOST_LINKS))


def _title(about: Briefing, kind: NotificationKind) -> str:
    match kind:
        case NotificationKind.RESOLVED:
            return f"Resolved: {about.title}"
        case NotificationKind.REVIEW:
            return f"[dry run] {about.title}"
        case _:
            return about.title


def _body(about: Briefing, kind: NotificationKind) -> str:
    told = " ".join(about.guidance.summary.split())[:LONGEST_SUMMARY]
    lines = [f"incident {about.incident}, severity {about.severity}, rule {about.rule}{f': {told}' if told else ''}"]
    if about.target is not None:
        lines.append(f"target: {about.target}")
    lines += [f"{name}: {seen}" for name, seen in about.findings.items()]
    if about.plan is not None:
        lines.append(f"plan {about.plan.digest}: {about.plan.summary}")
    if kind is NotificationKind.RESOLVED:
        lines.append(about.resolution)
    elif about.last_word:
        lines.append(f"automation: {about.last_word}")
    if about.summary:
        lines.append(about.summary)
    return "\n".join(lines)
