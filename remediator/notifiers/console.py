"""Pages on the daemon's own output: for the demo, a laptop, and as the last resort."""

import sys
from typing import ClassVar

from remediator.domain.notification import Notification, Receipt
from remediator.notifiers import Notifier
from remediator.toolbox import Messengers


class Console(Notifier):
    """Prints the page, control characters escaped. It cannot fail, so it is a good last contact."""

    reaches_people: ClassVar[bool] = False

    async def send(self, notification: Notification, tools: Messengers) -> Receipt:
        lines = [
            f"{notification.kind.upper()} to {notification.recipient}: {notification.title}",
            *notification.body.splitlines(),
        ]
        if notification.acknowledge_url:
            lines.append(f"acknowledge: {notification.acknowledge_url}")
        lines += [f"{name}: {url}" for name, url in notification.links.items()]
        sys.stdout.write("\n  ".join(map(_printable, lines)) + "\n")
        sys.stdout.flush()
        return Receipt()


def _printable(line: str) -> str:
    """Labels are hostile: no escape sequence reaches the terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)
