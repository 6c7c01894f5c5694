"""Mail out, by a submission server, over TLS unless the settings say otherwise.

The library is imported with the first mail: most daemons send none.
"""

from dataclasses import dataclass
from email.message import EmailMessage

from remediator.domain.errors import Ambiguous, Permanent, Temporary

_SECONDS = 10.0
_IMPLICIT_TLS_PORT = 465


@dataclass(frozen=True, slots=True)
class Mailer:
    host: str
    port: int
    sender: str
    user: str | None = None
    password: str | None = None
    start_tls: bool = True

    async def send(self, message: EmailMessage, *, timeout: float = _SECONDS) -> str:
        """The server's last word, within `timeout` seconds. Raises `Temporary` (4xx, or none of the mail was sent),
        `Permanent` (5xx) or `Ambiguous`.

        One refused recipient of several is a refusal: the mail may be tried again, and the others have it twice.
        """
        import aiosmtplib

        from remediator.clients.submission import Submission

        message["From"] = self.sender
        implicit = self.port == _IMPLICIT_TLS_PORT
        submission = Submission(
            hostname=self.host,
            port=self.port,
            username=self.user,
            password=self.password,
            use_tls=implicit,
            start_tls=self.start_tls and not implicit,
            timeout=timeout,
        )
        try:
            refused, answer = await submission.submit(message)
        except aiosmtplib.SMTPConnectError as error:
            raise Temporary(str(error), system="smtp", operation="connect") from error
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise _by_code(error.recipients[0].code, str(error)) from error
        except aiosmtplib.SMTPResponseException as error:
            raise _by_code(error.code, error.message) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            kind = Ambiguous if submission.is_begun else Temporary
            raise kind(str(error) or type(error).__name__, system="smtp", operation="send") from error
        if refused:
            recipient, refusal = next(iter(refused.items()))
            raise _by_code(refusal.code, f"{recipient}: {refusal.message}")
        return answer


def _by_code(code: int, message: str) -> Temporary | Permanent:
    detail = f"{code} {message}"
    if 400 <= code < 500:
        return Temporary(detail, system="smtp", operation="send")
    return Permanent(detail, system="smtp", operation="send", status=code)
