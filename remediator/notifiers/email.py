"""Pages by mail."""

import hashlib
from collections.abc import Iterable
from email.message import EmailMessage
from html import escape

from remediator.domain.errors import Permanent
from remediator.domain.notification import Notification, Receipt
from remediator.notifiers import Notifier
from remediator.toolbox import Messengers


class Email(Notifier):
    """Mails the page to the contact's address, as plain text and HTML, through the settings' SMTP server."""

    def lacks(self, tools: Messengers) -> tuple[str, ...]:
        return ("smtp.host, smtp.sender",) if tools.mailer is None else ()

    async def send(self, notification: Notification, tools: Messengers) -> Receipt:
        if tools.mailer is None:
            raise Permanent("no SMTP server is configured: set REMEDIATOR_SMTP__HOST", system="smtp", operation="send")
        if not notification.address:
            raise Permanent("the contact has no address", system="smtp", operation="send")
        await tools.mailer.send(mail_of(notification), timeout=self.timeout.total_seconds())
        return Receipt()


def mail_of(notification: Notification) -> EmailMessage:
    """One thread an incident. Raises `Permanent` where the address is none."""
    message = EmailMessage()
    try:
        message["To"] = notification.address
        message["Subject"] = _one_line(f"[{notification.severity}] {notification.title}")
        message["Message-ID"] = f"<{hashlib.sha256(notification.dedup_key.encode()).hexdigest()[:32]}@remediator>"
        message["References"] = f"<incident-{notification.incident}@remediator>"
        message["Auto-Submitted"] = "auto-generated"
    except ValueError as error:
        raise Permanent(f"not a mail address: {error}", system="smtp", operation="send") from error
    lines = [notification.body, *(f"{text}: {url}" for text, url in _links(notification))]
    message.set_content("\n\n".join(lines))
    message.add_alternative(_html(notification), subtype="html")
    return message


def _links(notification: Notification) -> Iterable[tuple[str, str]]:
    """Text and URL, the most urgent first."""
    own = (("Acknowledge", notification.acknowledge_url), ("Incident", notification.incident_url))
    return (*(each for each in own if each[1]), *notification.links.items())


def _html(notification: Notification) -> str:
    links = [f'<p><a href="{escape(url)}">{escape(text)}</a></p>' for text, url in _links(notification)]
    return f"<h2>{escape(notification.title)}</h2><pre>{escape(notification.body)}</pre>{''.join(links)}"


def _one_line(text: str) -> str:
    """Without encoded words: the library decodes them, and writes line breaks and headers that somebody hid there."""
    return " ".join(text.replace("=?", "= ?").split())[:200]
