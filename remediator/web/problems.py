"""Errors as RFC 9457 problem documents: what and why for the caller, the traceback for our log alone."""

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

import structlog
from aiohttp import web
from aiohttp.hdrs import METH_ANY as ANY

from remediator.domain.errors import (
    BadDocument,
    BadPayload,
    NotAllowed,
    NotFound,
    Overloaded,
    RemediatorError,
    Temporary,
    Unauthenticated,
)

log = structlog.get_logger()

_STATUS: Mapping[type[RemediatorError], int] = {
    BadDocument: 400,
    BadPayload: 400,
    Unauthenticated: 401,
    NotFound: 404,
    NotAllowed: 409,
    Overloaded: 503,
    Temporary: 503,
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
"""No scripts, no frames, and a signed link never leaves by the Referer."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def problem(status: int, detail: str, *, headers: Mapping[str, str] | None = None) -> web.Response:
    title = HTTPStatus(status).phrase
    return web.json_response(
        {"type": "about:blank", "title": title, "status": status, "detail": detail},
        status=status,
        headers=headers,
        content_type="application/problem+json",
    )


class Receipt(web.Response):
    """For a sender of alerts. There are thousands, and no browser shows one: it goes without a browser's headers."""


def telling_errors(handler: Handler) -> Handler:
    """Around each handler and not as a middleware, whose machinery costs every delivery a tenth of its way in."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        try:
            response = await handler(request)
        except web.HTTPRedirection:
            raise
        except web.HTTPException as error:
            response = problem(error.status, error.reason)
        except RemediatorError as error:
            response = _of(error)
        except ConnectionError:  # whoever asked has hung up, and reads no answer
            response = problem(400, "the connection was lost before the body was there")
        except Exception:  # the sender learns nothing of our insides
            log.exception("request failed", method=request.method, path=request.path)
            response = problem(500, "an internal error; the log of this daemon has it")
        if not isinstance(response, Receipt):
            for name, value in _HEADERS.items():
                response.headers.setdefault(name, value)
        return response

    return guarded


async def nothing_here(request: web.Request) -> web.Response:
    """For whatever no other route takes."""
    resources = request.app.router.resources()
    allowed = sorted({method for resource in resources for method in (await resource.resolve(request))[1]} - {ANY})
    if not allowed:
        return problem(404, "there is nothing here")
    return problem(405, f"{request.method} is not for this path", headers={"Allow": ", ".join(allowed)})


def _of(error: RemediatorError) -> web.Response:
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)
    return problem(status, str(error), headers={"WWW-Authenticate": "Bearer"} if status == 401 else None)
