"""Pages into Slack."""

from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import Field

from remediator.clients.http import json_of
from remediator.domain.errors import Permanent, Temporary
from remediator.domain.notification import Notification, NotificationKind, Receipt
from remediator.notifiers import Notifier
from remediator.toolbox import Messengers

_LONGEST = 2_900
"""Slack refuses a message with a section of more than 3,000 characters."""
_PASSING = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"}
)
_SIGNS = {NotificationKind.PAGE: ":rotating_light:", NotificationKind.RESOLVED: ":white_check_mark:"}


class Slack(Notifier):
    """Posts the page by `chat.postMessage` to the contact's address: a channel or a user id."""

    token: str = Field(default="slack_token", min_length=1)
    """The name of the bot token in the settings, never the token itself."""
    channel: str = ""
    """Where to post when the contact has no address of its own."""
    url: str = "https://slack.com/api/chat.postMessage"

    def secrets(self) -> tuple[str, ...]:
        return (self.token,)

    async def send(self, notification: Notification, tools: Messengers) -> Receipt:
        channel = notification.address or self.channel
        if not channel:
            raise Permanent("the contact has no address, and the channel none either", system="slack", operation="post")
        answer = await tools.http.post_for_success(
            self.url,
            body=msgspec.json.encode({"channel": channel, **message_of(notification)}),
            headers={
                "Authorization": f"Bearer {tools.secret(self.token)}",
                "Content-Type": "application/json; charset=utf-8",
            },
            timeout=self.timeout.total_seconds(),
        )
        return _receipt(json_of(answer, system="slack", operation="post"))


def _receipt(answer: Any) -> Receipt:
    """Slack answers 200 with an error inside."""
    if answer.get("ok") is True:
        return Receipt(provider_id=str(answer.get("ts", "")))
    error = str(answer.get("error", "no error named"))
    kind = Temporary if error in _PASSING else Permanent
    raise kind(error, system="slack", operation="post")


def message_of(notification: Notification) -> dict[str, Any]:
    title = _short(notification.title)
    heading = f"{_SIGNS.get(notification.kind, '')} *{title}*".strip()
    blocks: list[dict[str, Any]] = [_section(heading), _section(f"```{_short(notification.body)}```")]
    buttons = [
        _button(text, url)
        for text, url in (("Acknowledge", notification.acknowledge_url), ("Incident", notification.incident_url))
        if url
    ]
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    if links := _links(notification.links):
        blocks.append(_section(links))
    return {"text": title, "blocks": blocks, "unfurl_links": False, "unfurl_media": False}


def _links(links: Mapping[str, str]) -> str:
    """As many as there is room for. No buttons: Slack refuses a message for a button's URL that it does not like."""
    told = ""
    for name, url in links.items():
        line = f"<{escaped(url).replace('|', '%7C')}|{escaped(name)}>\n"
        if len(told) + len(line) <= _LONGEST:
            told += line
    return told.rstrip()


def escaped(text: str) -> str:
    """Slack's three characters: without them a label cannot mention a channel, make a link or leave its code block."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("```", "'''")


def _short(text: str) -> str:
    """Escaped, and cut where that leaves every escape whole."""
    kept = escaped(text)[:_LONGEST]
    before, begun, rest = kept.rpartition("&")
    return before if begun and ";" not in rest else kept


def _section(text: str) -> dict[str, Any]:
    """Verbatim: no links are made of bare addresses."""
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _button(text: str, url: str) -> dict[str, Any]:
    return {"type": "button", "text": {"type": "plain_text", "text": text}, "url": url}
