"""Ways to reach people. To add one: one file with one `Notifier`; then `use: <file name>` in `oncall/channels.yaml`."""

from abc import ABC, abstractmethod
from datetime import timedelta
from typing import Annotated, ClassVar

from remediator.catalogue import Plugin
from remediator.domain.notification import Notification, Receipt
from remediator.language.duration import Duration, between
from remediator.toolbox import Messengers

SHORTEST_SEND, LONGEST_SEND = timedelta(milliseconds=100), timedelta(seconds=15)
"""The longest is well below the courier's lease on a message, else it would be sent anew before it has failed, and
never go on to the next contact."""


class Notifier(Plugin, ABC):
    """Sends one notification. Its fields are the channel's settings; secrets are named, never written."""

    reaches_people: ClassVar[bool] = True
    """False where a page is only shown, and perhaps nobody looks: it does not count as one that reached somebody."""

    timeout: Annotated[Duration, between(SHORTEST_SEND, LONGEST_SEND)] = timedelta(seconds=10)

    def secrets(self) -> tuple[str, ...]:
        """Names it will ask `Messengers.secret` for, so that `check` can miss them before the night."""
        return ()

    def lacks(self, tools: Messengers) -> tuple[str, ...]:
        """What it cannot send without and the settings do not have, in words: told at the start, not in the night."""
        return tuple(f"secrets.{name}" for name in self.secrets() if name not in tools.secrets)

    @abstractmethod
    async def send(self, notification: Notification, tools: Messengers) -> Receipt:
        """Raises `Temporary`, `Permanent` or `Ambiguous`; the courier retries, falls through or repeats accordingly."""
