"""What reaches a channel, what its answer means, and that a label cannot speak through it."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.policy import SMTP
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from remediator.clients.http import open_http
from remediator.domain.errors import Permanent, Temporary
from remediator.domain.guidance import LONGEST_LINK
from remediator.domain.ids import IncidentId
from remediator.domain.notification import Notification, NotificationKind
from remediator.notifiers.console import Console
from remediator.notifiers.email import Email, mail_of
from remediator.notifiers.slack import Slack, message_of
from remediator.notifiers.webhook import Webhook
from remediator.toolbox import Messengers
from tests.fakes.serving import serving

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAGE = Notification(
    incident=IncidentId(7),
    kind=NotificationKind.PAGE,
    dedup_key="7:1:0:alice",
    recipient="alice",
    channel="ops",
    address="C123",
    title="ServiceDown",
    severity="sev1",
    body="pods: 0 of 3 ready",
    acknowledge_url="https://remediator.example.invalid/a?token=t",
    incident_url="https://remediator.example.invalid/incidents/7",
)
SLACK_TAKES = 3_000
"""Characters of a section."""
SMTP_TAKES = 998
"""Bytes of a line (RFC 5322)."""


@dataclass
class Sink:
    """A real HTTP server that keeps what it gets and answers as told."""

    url: str = ""
    status: int = 200
    answer: dict[str, Any] = field(default_factory=lambda: {"ok": True, "ts": "1.2"})
    headers: dict[str, str] = field(default_factory=dict)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def receive(self, request: web.Request) -> web.Response:
        self.got.append((dict(request.headers), await request.read()))
        return web.json_response(self.answer, status=self.status, headers=self.headers)


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    made = Sink()
    app = web.Application()
    app.add_routes([web.post("/", made.receive)])
    async with serving(app) as url:
        made.url = f"{url}/"
        yield made


@pytest.fixture
async def tools() -> AsyncIterator[Messengers]:
    async with open_http(private_networks=True) as http:
        yield Messengers(http, secrets={"signing": "s3cret", "slack_token": "xoxb"}, clock=lambda: NOW)


async def test_a_webhooks_receiver_can_check_who_sent_what_when(sink: Sink, tools: Messengers) -> None:
    await Webhook(url=sink.url, secret="signing").send(PAGE, tools)

    [(headers, body)] = sink.got
    signed = f"7:1:0:alice.{int(NOW.timestamp())}.".encode() + body
    expected = base64.b64encode(hmac.new(b"s3cret", signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert json.loads(body)["title"] == "ServiceDown"


CHANNELS: list[Callable[[str], Webhook | Slack]] = [
    lambda url: Webhook(url=url, secret="signing"),
    lambda url: Slack(url=url),
]


@pytest.mark.parametrize("channel", CHANNELS, ids=["webhook", "slack"])
@pytest.mark.parametrize(
    ("status", "error"), [(429, Temporary), (500, Temporary), (503, Temporary), (400, Permanent), (404, Permanent)]
)
async def test_an_answer_says_whether_to_try_again(
    sink: Sink, tools: Messengers, channel: Callable[[str], Webhook | Slack], status: int, error: type[Exception]
) -> None:
    sink.status, sink.headers = status, {"Retry-After": "7"}

    with pytest.raises(error) as raised:
        await channel(sink.url).send(PAGE, tools)

    assert getattr(raised.value, "retry_after_seconds", 7) == 7


@pytest.mark.parametrize(("said", "error"), [("ratelimited", Temporary), ("channel_not_found", Permanent)])
async def test_slack_says_no_inside_a_200(sink: Sink, tools: Messengers, said: str, error: type[Exception]) -> None:
    sink.answer = {"ok": False, "error": said}

    with pytest.raises(error, match=said):
        await Slack(url=sink.url).send(PAGE, tools)


def test_a_label_cannot_mention_a_channel_or_make_a_link_in_slack() -> None:
    hostile = replace(PAGE, title="<!channel> <https://evil.example.invalid|click>", body="```<!here>")

    text = json.dumps(message_of(hostile)["blocks"][:2])

    assert "<" not in text
    assert text.count("```") == 2


@pytest.mark.parametrize("text", ["x" * 5_000, "&" * 5_000, f"{'x' * 2_897}&&", "<" * 580], ids=len)
@pytest.mark.parametrize("part", ["title", "body"])
def test_no_label_is_longer_than_slack_takes_and_no_escape_is_cut_in_two(part: str, text: str) -> None:
    """It would refuse the message, on every contact at once."""
    message = message_of(replace(PAGE, **{part: text}))

    shown = [block["text"]["text"] for block in message["blocks"][:2]]
    assert max(map(len, shown)) <= SLACK_TAKES
    assert all(each.count("&") == each.count(";") for each in (*shown, message["text"]))


def test_slack_makes_no_links_of_what_a_label_says() -> None:
    message = message_of(replace(PAGE, title="https://evil.example.invalid"))

    assert [block["text"]["verbatim"] for block in message["blocks"][:2]] == [True, True]


@pytest.mark.parametrize("text", ["x" * 3_000, "\N{FIRE}" * 3_000, "x y " * 1_000], ids=["x", "fire", "words"])
def test_no_line_of_a_mail_is_longer_than_smtp_takes(text: str) -> None:
    mail = mail_of(replace(PAGE, address="a@example.invalid", title=text, body=text))

    assert max(map(len, mail.as_bytes(policy=SMTP).split(b"\r\n"))) <= SMTP_TAKES


def test_a_label_cannot_add_a_header_to_a_mail() -> None:
    mail = mail_of(replace(PAGE, address="a@example.invalid", title="x\r\nBcc: b@example.invalid", body="<script>"))

    assert mail["Bcc"] is None
    assert "<script>" not in str(mail.get_body(("html",)))


LINKED = replace(
    PAGE, links={"Errors <&|": "https://grafana.example.invalid/d?a=1&b=x|y", "Status": "https://s.example"}
)


def test_slack_gets_links_that_open_and_say_what_they_are() -> None:
    *_, last = message_of(LINKED)["blocks"]

    assert last["text"]["text"].splitlines() == [
        "<https://grafana.example.invalid/d?a=1&amp;b=x%7Cy|Errors &lt;&amp;|>",
        "<https://s.example|Status>",
    ]


def test_links_take_no_more_room_than_slack_has() -> None:
    """It would refuse the message for their sake."""
    longest = f"https://a.example.invalid/{'&' * (LONGEST_LINK - 26)}"
    message = message_of(replace(PAGE, links={"Long": longest, "Short": "https://s.example"}))

    assert message["blocks"][-1]["text"]["text"] == "<https://s.example|Short>"


def test_a_mail_ends_with_the_links_and_shows_what_they_are() -> None:
    mail = mail_of(replace(LINKED, address="a@example.invalid"))

    plain, html = (part.get_content() for part in mail.iter_parts())
    assert plain.splitlines()[-1] == "Status: https://s.example"
    assert '<a href="https://s.example">Status</a>' in html
    assert "Errors &lt;&amp;|" in html


async def test_the_console_prints_links_last(tools: Messengers, capsys: pytest.CaptureFixture[str]) -> None:
    await Console().send(LINKED, tools)

    assert capsys.readouterr().out.splitlines()[-1] == "  Status: https://s.example"


async def test_a_program_gets_links_by_name(sink: Sink, tools: Messengers) -> None:
    await Webhook(url=sink.url, secret="signing").send(LINKED, tools)

    [(_, body)] = sink.got
    assert json.loads(body)["links"] == LINKED.links


async def test_without_a_mail_server_or_an_address_the_next_channel_is_used(tools: Messengers) -> None:
    with pytest.raises(Permanent, match="REMEDIATOR_SMTP__HOST"):
        await Email().send(PAGE, tools)


async def test_a_label_cannot_move_the_cursor_on_the_console(
    tools: Messengers, capsys: pytest.CaptureFixture[str]
) -> None:
    await Console().send(replace(PAGE, title="\x1b[2Jgone"), tools)

    assert "\x1b" not in capsys.readouterr().out
