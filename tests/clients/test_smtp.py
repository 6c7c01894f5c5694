"""What a submission server that falls silent, or is gone, means for a mail."""

from email.message import EmailMessage

import pytest

from remediator.clients.smtp import Mailer
from remediator.domain.errors import Ambiguous, SystemFailure, Temporary
from tests.fakes.smtp_sink import SmtpSink, smtp_sink


async def send(sink: SmtpSink) -> str:
    message = EmailMessage()
    message["To"] = "alice@example.invalid"
    message.set_content("down")
    mailer = Mailer("127.0.0.1", sink.port, "remediator@example.invalid", start_tls=False)
    return await mailer.send(message, timeout=0.2)


@pytest.mark.parametrize("how", ["hangs_up_at", "silent_at"])
@pytest.mark.parametrize(
    ("command", "error"), [("EHLO", Temporary), ("MAIL", Temporary), ("RCPT", Temporary), ("DATA", Ambiguous)]
)
async def test_a_mail_may_have_arrived_only_where_its_data_was_begun(
    command: str, error: type[SystemFailure], how: str
) -> None:
    """What is taken for sent is not tried again."""
    async with smtp_sink() as sink:
        setattr(sink, how, command)

        with pytest.raises(error):
            await send(sink)


@pytest.mark.parametrize("how", ["hangs_up_at", "silent_at"])
async def test_a_server_that_has_the_mail_may_take_leave_as_it_likes(how: str) -> None:
    async with smtp_sink() as sink:
        setattr(sink, how, "QUIT")

        assert await send(sink) == "kept"

    assert len(sink.messages) == 1
