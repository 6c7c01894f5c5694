"""One request to the API server, with a time-out, and its refusals in our own words."""

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec

from remediator.domain.errors import Ambiguous, NotAllowed, NotFound, Permanent, RemediatorError, Temporary
from remediator.domain.plan import Fence, unfenced

LOOK_SECONDS = 10.0
WRITE_SECONDS = 15.0
CONNECT_SECONDS = 5.0
"""A write without a connection is known not to have been sent, and is told so before an action's own time is up."""
MOST_BYTES = 32 * 1024 * 1024
_SYSTEM = "kubernetes"


class Status(msgspec.Struct, frozen=True):
    """The body of a refusal. Not every refusal has one: a missing API answers plain text."""

    message: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


@dataclass(slots=True)
class _Write:
    """aiohttp sends a DELETE or PUT again by itself where a kept connection is lost. The answer to the second, a 404,
    would be taken for "not done"."""

    operation: str
    fence: Fence
    has_body: bool
    """Then it leaves with the headers, a turn of the event loop after them: in it a replica may be frozen."""
    is_sent: bool = False
    """From just before its first byte: what failed earlier surely did nothing."""
    refusal: RemediatorError | None = None

    def before_headers(self) -> None:
        if self.is_sent:
            raise Ambiguous("the connection was lost", system=_SYSTEM, operation=self.operation)
        if not self.has_body:
            self._ask()

    def before_body(self) -> None:
        if not self.is_sent:
            self._ask()

    def _ask(self) -> None:
        try:
            self.fence()
        except RemediatorError as error:
            self.refusal = error
            raise
        self.is_sent = True


_sending: ContextVar[_Write | None] = ContextVar("the write that is about to be sent", default=None)


@dataclass(frozen=True, slots=True)
class Transport:
    api: Any
    """A kubernetes_asyncio ApiClient: untyped."""

    async def look(self, path: str, query: Mapping[str, str] | None = None, *, seconds: float = LOOK_SECONDS) -> bytes:
        """A GET. Raises `NotFound`, `NotAllowed`, `Temporary` or `Permanent`."""
        try:
            answer = await self.request("GET", path, query or {}, seconds=seconds)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Temporary(str(error) or "timed out", system=_SYSTEM, operation=f"GET {path}") from error
        if answer.status >= 300:
            raise refusal(answer, f"GET {path}")
        return answer.body

    async def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        body: object,
        content_type: str,
        fence: Fence = unfenced,
    ) -> bytes:
        """Anything that may change something. Once it was sent, no answer and 5xx are `Ambiguous`; what was surely not
        sent is `Temporary`. Raises what `fence` raises when there is a connection to write on."""
        operation = f"{method} {path}"
        write = _Write(operation, fence, has_body=body is not None)
        sending = _sending.set(write)
        try:
            answer = await self.request(
                method, path, query, body=body, content_type=content_type, seconds=WRITE_SECONDS
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if write.refusal is not None:  # aiohttp takes what is raised before the body for a broken connection
                raise write.refusal from error
            kind = Ambiguous if write.is_sent else Temporary
            raise kind(str(error) or "timed out", system=_SYSTEM, operation=operation) from error
        finally:
            _sending.reset(sending)
        if answer.status >= 300:
            raise refusal(answer, operation, written=True)
        return answer.body

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        *,
        seconds: float,
        body: object = None,
        content_type: str = "application/json",
    ) -> Answer:
        async with asyncio.timeout(seconds):
            response = await self.api.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params={"Accept": "application/json", "Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=aiohttp.ClientTimeout(total=seconds, connect=min(seconds, CONNECT_SECONDS)),
            )
            try:
                return Answer(response.status, await _read(response))
            finally:
                response.release()


def guarded_session(session: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """The same session, but each request asks its fence when it has a connection, and follows no redirect. The old
    session is used up.

    Nothing is taken from the environment: a netrc entry collides with our token, and HTTP_PROXY was meant for the web.
    A proxy that the kubeconfig names comes with each request.
    """
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_before_headers)
    trace.on_request_chunk_sent.append(_before_body)
    trace.on_request_redirect.append(_refuse_redirect)
    connector = session.connector
    session.detach()
    return aiohttp.ClientSession(connector=connector, trust_env=False, trace_configs=[trace])


async def _before_headers(*_: object) -> None:
    """To open a connection takes many turns, and a replica may be frozen in any of them.

    aiohttp calls these hooks before it writes, and what raises in them is never sent.
    """
    if (write := _sending.get()) is not None:
        write.before_headers()


async def _before_body(*_: object) -> None:
    if (write := _sending.get()) is not None:
        write.before_body()


async def _refuse_redirect(
    _: aiohttp.ClientSession, __: SimpleNamespace, redirect: aiohttp.TraceRequestRedirectParams
) -> None:
    """Whoever answers elsewhere is not the API server. aiohttp calls this hook before it follows, and
    kubernetes-asyncio does not let us forbid it."""
    raise Permanent(
        f"answered {redirect.response.status}: redirects are not followed",
        system=_SYSTEM,
        operation=f"{redirect.method} {redirect.url.path}",
        status=redirect.response.status,
    )


async def _read(response: Any) -> bytes:
    read = bytearray()
    async for chunk in response.content.iter_any():
        read += chunk
        if len(read) > MOST_BYTES:
            raise Permanent(f"more than {MOST_BYTES >> 20} MiB", system=_SYSTEM, operation="read")
    return bytes(read)


def refusal(answer: Answer, operation: str, *, written: bool = False) -> RemediatorError:
    """What a status of 300 or more means for whoever asked (facts: kubernetes, "exact answers")."""
    status = _status_of(answer)
    detail = status.message or f"answered {answer.status}"
    match answer.status:
        case 404:
            return NotFound(f"kubernetes: {operation}: {detail}")
        case 401 | 403:
            return NotAllowed(f"kubernetes: {operation}: {detail}")
        case 429:
            return Temporary(detail, system=_SYSTEM, operation=operation)
        case code if code >= 500 and not _is_two_budgets(status):
            kind = Ambiguous if written else Temporary
            return kind(detail, system=_SYSTEM, operation=operation)
        case code:
            return Permanent(detail, system=_SYSTEM, operation=operation, status=code)


def _is_two_budgets(status: Status) -> bool:
    """The one 500 that is a plain no: two PodDisruptionBudgets match the pod."""
    return "more than one PodDisruptionBudget" in status.message


def _status_of(answer: Answer) -> Status:
    try:
        return msgspec.json.decode(answer.body, type=Status)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Status(message=answer.body[:300].decode("utf-8", "replace").strip())
