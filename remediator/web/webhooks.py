"""Alerts in. 2xx means committed; 503 means send it again; 4xx means that sending the same again is of no use."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from datetime import timedelta
from functools import cache, partial
from typing import Protocol

import msgspec
import structlog
from aiohttp import web

from remediator.catalogue import plugins_of
from remediator.domain.alert import Accepted, Delivery
from remediator.domain.errors import BadPayload, Overloaded, Temporary, Unauthenticated
from remediator.domain.ids import SourceName
from remediator.metrics import Metrics
from remediator.sources import Source
from remediator.web.auth import Gate
from remediator.web.problems import Receipt, problem

log = structlog.get_logger()

_ENCODER = msgspec.json.Encoder()

READ_WITHIN = timedelta(seconds=30)
"""For the whole body: a sender that trickles must not hold a connection for ever."""
PARSE_ASIDE = 1024 * 1024
"""Bodies larger than this are parsed in a thread: everybody else's 2xx must not wait for them."""
CHUNK = 64 * 1024
ANSWERS = (202, 400, 401, 413, 503)
"""Counted from nothing on: what first appears with its first failure, no alert on it sees."""


Handler = Callable[[web.Request], Awaitable[web.Response]]


class Hold(Protocol):
    def grow(self, size: int) -> None: ...


class Intake(Protocol):
    def admit(self, source: SourceName, size: int) -> AbstractContextManager[Hold]: ...

    def accept(self, delivery: Delivery) -> Awaitable[Accepted]: ...

    async def quarantine(self, source: SourceName, body: bytes, reason: str) -> None: ...


class Webhooks:
    def __init__(self, intake: Intake, gate: Gate, *, metrics: Metrics, body_limit: int) -> None:
        self._intake = intake
        self._gate = gate
        self._body_limit = body_limit
        self._sources: Mapping[str, Source] = {name: source() for name, source in plugins_of(Source).items()}
        self._count = cache(metrics.deliveries.labels)
        for kind in self._sources:
            for answer in ANSWERS:
                self._count(kind, answer)
        self._rejected = metrics.alerts.labels(filing="rejected")

    def routes(self) -> list[web.RouteDef]:
        """A path of its own for each kind: it is looked up, where a pattern would be matched for every request."""
        handlers: dict[str, Handler] = {kind: partial(self.receive, kind) for kind in self._sources}
        handlers["{kind}"] = self._refuse_unknown
        return [
            route(f"/webhooks/{kind}", handler) for kind, handler in handlers.items() for route in (web.post, web.put)
        ]

    async def _refuse_unknown(self, request: web.Request) -> web.Response:
        self._count("unknown", 404).inc()
        kind = request.match_info["kind"]
        return problem(404, f"there is no source {kind!r}; known: {', '.join(self._sources)}")

    async def receive(self, kind: str, request: web.Request) -> web.Response:
        try:
            answer = await self._admit(request, self._sources[kind], SourceName(kind))
        except Unauthenticated as error:
            answer = problem(401, str(error), headers={"WWW-Authenticate": "Bearer"})
        except BadPayload as error:
            answer = problem(400, str(error))
        except web.HTTPRequestEntityTooLarge:
            limit = self._body_limit >> 20
            answer = problem(413, f"the body is larger than {limit} MiB: set max_alerts or split groups")
        except (Overloaded, Temporary, TimeoutError, ConnectionError) as error:  # the last: it hung up in the middle
            # Never 429 or 408: no sender retries those (facts: intake 1.4).
            answer = problem(503, f"not stored, send it again: {error or 'the body took too long'}")
        self._count(kind, answer.status).inc()
        return answer

    async def _admit(self, request: web.Request, source: Source, kind: SourceName) -> web.Response:
        """Headers first, then room for the body, then the body: who is refused costs us nothing but the headers."""
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise BadPayload("compressed bodies are not read: no sender we know compresses, and bombs do")
        signed = self._gate.awaits_signature(request.headers)
        sender = None if signed else self._gate.sender(request.headers, kind)
        announced = request.content_length
        if announced is not None and announced > self._body_limit:
            raise web.HTTPRequestEntityTooLarge(max_size=self._body_limit, actual_size=announced)
        # Whoever has proven nothing yet has room by address: a stranger must not use up that of the one who will.
        room = sender or SourceName(f"{kind} from {request.remote}")
        with self._intake.admit(room, announced or 0) as hold:
            if announced is not None and request.content.is_eof():
                body = request.content.read_nowait()  # it came in one piece with its headers, as most do
            else:
                body = await self._read(request, hold, announced=announced)
            sender = sender or self._gate.signer(request.headers, body)
            return await self._take(source, sender, body, headers=request.headers)

    async def _read(self, request: web.Request, hold: Hold, *, announced: int | None) -> bytes:
        async with asyncio.timeout(READ_WITHIN.total_seconds()):
            if announced is not None:
                return await request.read()
            body = bytearray()
            async for chunk in request.content.iter_chunked(CHUNK):
                hold.grow(len(chunk))
                body += chunk
                if len(body) > self._body_limit:
                    raise web.HTTPRequestEntityTooLarge(max_size=self._body_limit, actual_size=len(body))
            return bytes(body)

    async def _take(
        self, source: Source, sender: SourceName, body: bytes, *, headers: Mapping[str, str]
    ) -> web.Response:
        try:
            if len(body) > PARSE_ASIDE:
                delivery = await asyncio.to_thread(source.parse, body, headers, sender)
            else:
                delivery = source.parse(body, headers, sender)
        except BadPayload as error:
            log.warning("delivery quarantined", source=sender, reason=str(error))
            await self._intake.quarantine(sender, body, str(error))
            raise
        accepted = await self._intake.accept(delivery)
        if delivery.rejected:
            self._tell_rejected(delivery)
        return Receipt(body=_ENCODER.encode(accepted), status=202, content_type="application/json")

    def _tell_rejected(self, delivery: Delivery) -> None:
        """The sender has its 2xx, for the same again would be of no use: somebody here must hear of it."""
        self._rejected.inc(len(delivery.rejected))
        reasons = sorted({each.reason for each in delivery.rejected})
        log.warning("alerts not read", source=delivery.source, alerts=len(delivery.rejected), reasons=reasons[:5])
