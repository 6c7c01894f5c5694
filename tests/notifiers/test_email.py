"""Mail through a real SMTP conversation."""

import pytest
from msgspec.structs import replace

from remediator.clients.http import open_http
from remediator.clients.smtp import Mailer
from remediator.domain.errors import Permanent, SystemFailure, Temporary
from remediator.domain.notification import Notification
from remediator.notifiers.email import Email
from remediator.toolbox import Messengers
from tests.fakes.smtp_sink import SmtpSink, smtp_sink
from tests.notifiers.test_notifiers import PAGE


async def send(
    sink: SmtpSink, page: Notification = PAGE, *, to: str = "alice@example.invalid", port: int | None = None
) -> None:
    mailer = Mailer("127.0.0.1", port or sink.port, "remediator@example.invalid", start_tls=False)
    async with open_http(private_networks=True) as http:
        await Email().send(replace(page, address=to), Messengers(http, mailer))


async def test_a_page_arrives_with_its_links() -> None:
    async with smtp_sink() as sink:
        await send(sink)

    [message] = sink.messages
    assert "Subject: [sev1] ServiceDown" in message
    assert "To: alice@example.invalid" in message
    assert "pods: 0 of 3 ready" in message


@pytest.mark.parametrize(
    "title",
    [
        pytest.param("=?us-ascii?q?=ff?= \u00e9", id="it cannot be encoded once it is decoded"),
        pytest.param("=?utf-8?q?fine=0ABcc:_eve@example.invalid=0A=0ANothing_to_do.?=", id="line breaks and a header"),
    ],
)
async def test_the_title_of_an_alert_is_no_part_of_the_mail(title: str) -> None:
    async with smtp_sink() as sink:
        await send(sink, replace(PAGE, title=title))

    [message] = sink.messages
    headers, _, body = message.partition("\r\n\r\n")
    assert ("\r\nBcc:" in headers, "Nothing" in body.partition("Content-")[0]) == (False, False)
    assert "pods: 0 of 3 ready" in message


@pytest.mark.parametrize(("answer", "error"), [("451 later", Temporary), ("550 no such user", Permanent)])
async def test_the_servers_refusal_says_whether_to_try_again(answer: str, error: type[SystemFailure]) -> None:
    async with smtp_sink() as sink:
        sink.rcpt_answer = answer
        with pytest.raises(error):
            await send(sink)


@pytest.mark.parametrize(("answer", "error"), [("451 later", Temporary), ("550 no such user", Permanent)])
async def test_one_recipient_of_two_that_is_refused_is_a_page_that_did_not_arrive(
    answer: str, error: type[SystemFailure]
) -> None:
    async with smtp_sink() as sink:
        sink.refused["bob@example.invalid"] = answer
        with pytest.raises(error, match=f"bob@example.invalid: {answer[4:]}"):
            await send(sink, to="alice@example.invalid, bob@example.invalid")


async def test_nobody_there_is_temporary() -> None:
    async with smtp_sink() as sink:
        with pytest.raises(Temporary):
            await send(sink, port=1)
