"""HTTP to addresses that people wrote: never to link-local or metadata addresses, never along a redirect."""

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from yarl import URL

from remediator.clients.addresses import is_allowed
from remediator.domain.errors import Ambiguous, NotAllowed, Permanent, Temporary

MOST_BYTES = 1024 * 1024
_LOOKS = ("GET", "HEAD")
_LONGEST_WAIT = 86_400.0


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    headers: Mapping[str, str]
    body: bytes
    """Cut at the most that was asked for, `MOST_BYTES` unless said otherwise."""

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


@dataclass(slots=True)
class _Request:
    is_sent: bool = False
    """From just before its first byte: what failed earlier surely did nothing."""


@dataclass(frozen=True, slots=True)
class HttpClient:
    session: aiohttp.ClientSession
    private_networks: bool

    async def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, timeout: float = 10, at_most: int = MOST_BYTES
    ) -> Response:
        """Any status is an answer. Raises `Temporary` where none came, `NotAllowed` for a forbidden address."""
        return await self._request("GET", url, headers=headers, timeout=timeout, at_most=at_most)

    async def post(
        self, url: str, *, body: bytes, headers: Mapping[str, str] | None = None, timeout: float = 10
    ) -> Response:
        """Raises `Temporary` where it was surely not sent, `Ambiguous` where the answer never came."""
        return await self._request("POST", url, headers=headers, timeout=timeout, body=body)

    async def post_for_success(
        self, url: str, *, body: bytes, headers: Mapping[str, str] | None = None, timeout: float = 10
    ) -> Response:
        """Like `post`, and 2xx or it raises: 429 and 5xx `Temporary` (with what Retry-After asks), else `Permanent`."""
        answer = await self.post(url, body=body, headers=headers, timeout=timeout)
        if answer.status < 300:
            return answer
        detail, host = f"answered {answer.status}: {answer.text[:200]}", _host(url)
        if answer.status in {408, 425, 429} or answer.status >= 500:
            raise Temporary(detail, system=host, operation="POST", retry_after_seconds=retry_after(answer.headers))
        raise Permanent(detail, system=host, operation="POST", status=answer.status)

    async def _request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None,
        timeout: float,
        body: bytes | None = None,
        at_most: int = MOST_BYTES,
    ) -> Response:
        request = _Request()
        try:
            async with self.session.request(
                method,
                _allowed(url, private_networks=self.private_networks),
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=min(timeout, 5)),
                trace_request_ctx=request,
            ) as response:
                read = await _first_bytes(response, at_most)
                return Response(response.status, dict(response.headers), read)
        except aiohttp.InvalidURL as error:
            raise Permanent(f"not a URL: {url!r}", system="http", operation=method) from error
        except UnicodeError as error:  # of the resolver's, for a part of the name that is empty or too long
            raise Permanent(f"no host has such a name: {error}", system=_host(url), operation=method) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            kind = Ambiguous if request.is_sent and method not in _LOOKS else Temporary
            raise kind(str(error) or "timed out", system=_host(url), operation=method) from error


def retry_after(headers: Mapping[str, str]) -> float | None:
    """In seconds, a day at most; None where nothing was asked that can be understood."""
    asked = headers.get("Retry-After", "")
    if asked.isascii() and asked.isdecimal():
        return min(float(asked), _LONGEST_WAIT)
    until = _moment(asked)
    if until is None:
        return None
    now = _moment(headers.get("Date", "")) or datetime.now(UTC)  # by the clock that the other was read from
    return min(max((until - now).total_seconds(), 0), _LONGEST_WAIT)


def _moment(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


async def _first_bytes(response: aiohttp.ClientResponse, at_most: int) -> bytes:
    chunks = bytearray()
    while len(chunks) < at_most and (chunk := await response.content.readany()):
        chunks += chunk
    return bytes(chunks[:at_most])


def _host(url: str) -> str:
    """Without path and query: those may hold secrets (Slack's webhook URLs do)."""
    return URL(url).host or "http"


@asynccontextmanager
async def open_http(*, private_networks: bool, most_connections: int | None = 100) -> AsyncIterator[HttpClient]:
    """`private_networks` False: public addresses only. Link-local ones are refused either way.

    Whoever is past `most_connections` waits for one; None: only for one to the same host.
    """
    connector = aiohttp.TCPConnector(
        resolver=GuardedResolver(private_networks),
        limit=most_connections or 0,
        limit_per_host=50,
        ttl_dns_cache=10,
    )
    # No cookies: what one target sets is nothing that the next look should bring along.
    async with aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        trace_configs=[_noting_what_is_sent()],
    ) as session:
        yield HttpClient(session, private_networks)


def _noting_what_is_sent() -> aiohttp.TraceConfig:
    """aiohttp calls this hook when it has a connection, before it writes the first header."""

    async def note(
        _: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceRequestHeadersSentParams
    ) -> None:
        context.trace_request_ctx.is_sent = True

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(note)
    return trace


class GuardedResolver(AbstractResolver):
    """Judges the very addresses that are connected to, so a name that changes its mind gains nothing."""

    def __init__(self, private_networks: bool) -> None:
        self._private_networks = private_networks
        self._resolver = DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises `NotAllowed`, which aiohttp lets through: it makes its own errors of `OSError` only."""
        found = await self._resolver.resolve(host, port, family)
        allowed = [r for r in found if is_allowed(r["host"], private_networks=self._private_networks)]
        if not allowed:
            raise NotAllowed(f"{host} resolves to {_forbidden(self._private_networks)}")
        return allowed

    async def close(self) -> None:
        await self._resolver.close()


@lru_cache(maxsize=256)
def _allowed(url: str, *, private_networks: bool) -> URL:
    """Addresses written as numbers never reach a resolver, so they are judged here. What passed is remembered: pages go
    to a few, often."""
    try:
        parsed = URL(url)
        host, scheme = parsed.host or "", parsed.scheme
    except ValueError as error:
        raise Permanent(f"not a URL: {error}", system="http", operation="request") from error
    if scheme not in {"http", "https"} or not host:
        raise NotAllowed("only http:// and https:// URLs with a host can be called")
    try:
        allowed = is_allowed(host, private_networks=private_networks)
    except ValueError:
        return parsed
    if not allowed:
        raise NotAllowed(f"{host} is {_forbidden(private_networks)}")
    return parsed


def _forbidden(private_networks: bool) -> str:
    kinds = "a link-local or metadata address" if private_networks else "a private, link-local or metadata address"
    return f"{kinds}, which must not be called"


def json_of(response: Response, *, system: str, operation: str) -> Any:
    """Raises `Permanent` where the body is no JSON."""
    import msgspec

    try:
        return msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Permanent(f"answered no JSON: {response.text[:200]}", system=system, operation=operation) from error
