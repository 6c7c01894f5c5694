"""One mail over one connection to a submission server. Imported with the first mail, for it brings the library."""

import asyncio
from contextlib import suppress
from email.message import EmailMessage
from typing import Literal

import aiosmtplib
from aiosmtplib.typing import Default

_GOODBYE_SECONDS = 0.5


class Submission(aiosmtplib.SMTP):
    is_begun = False
    """From just before its data: what failed earlier has surely sent nothing."""

    async def submit(self, message: EmailMessage) -> tuple[dict[str, aiosmtplib.SMTPResponse], str]:
        """The recipients that were refused, and the server's last word. Raises what the library raises, and takes no
        longer than its time-out for one answer."""
        try:
            async with asyncio.timeout(self.timeout):
                await self.connect()
                answer = await self.send_message(message)
            with suppress(aiosmtplib.SMTPException):  # it has the mail: how it takes leave changes nothing
                await self.quit(timeout=_GOODBYE_SECONDS)
            return answer
        finally:
            self.close()

    async def data(
        self,
        message: str | bytes,
        /,
        *,
        timeout: float | Literal[Default.token] | None = Default.token,
    ) -> aiosmtplib.SMTPResponse:
        self.is_begun = True
        return await super().data(message, timeout=timeout)
