"""How we connect to PostgreSQL, whoever connects: limits on everything, only to a server that can be written to."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from remediator.domain.errors import BadDocument

CONNECT_SECONDS = 3.0
STATEMENTS_KEPT = 100

LIMITS: Mapping[str, str] = {
    "application_name": "remediator",
    "statement_timeout": "5s",
    # Longer than a deadlock takes to be seen, and shorter than intake's patience: who waits for a row that somebody
    # holds must be told so, not that the database does not answer.
    "lock_timeout": "1200ms",
    "idle_in_transaction_session_timeout": "15s",
    "timezone": "UTC",
    # Every statement is about a few rows found by index, whatever its arguments: planning it anew costs more than it.
    # A plan made while a table was still empty must not read all of it for ever after.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "jit": "off",
}
COMMAND_SECONDS = 6.0
"""Ours, for a server that is frozen and keeps no time-out of its own: a little above the server's."""

_LOST_ON_THE_WAY = " (is the address right, and does nothing on the way drop what is sent?)"
_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)


async def connect(
    dsn: str,
    *,
    timeout: float = CONNECT_SECONDS,  # shared out among the servers that the DSN names
    command_timeout: float | None = COMMAND_SECONDS,
    limits: Mapping[str, str] = LIMITS,
    **how: Any,
) -> "asyncpg.Connection[Any]":
    """To the first server of the DSN that can be written to. A standby, or a primary that became one, is none.

    Raises `ClientCannotConnectError` whatever a server says: in a failover, roles and databases may be missing for a
    while, and a pooler may say what the library trips over. Only a DSN that makes no sense is something else: a
    `BadDocument`, or the library's own word for it where that shows none of it. Each server has its own part of the
    time-out: the library gives them one between them, and the first that swallows packets would use it up.
    """
    servers = one_by_one(dsn)
    for position, server in enumerate(servers, start=1):
        try:
            connection: asyncpg.Connection[Any] = await asyncpg.connect(
                server,
                timeout=timeout / len(servers),
                command_timeout=command_timeout,
                target_session_attrs=SessionAttribute.read_write,
                server_settings=dict(limits),
                **how,
            )
        except Exception as error:
            if isinstance(error, asyncpg.exceptions.ClientConfigurationError):
                raise
            if isinstance(error, ValueError) and not isinstance(error, UnicodeError):
                raise BadDocument(_NO_ADDRESS) from None
            if position == len(servers):
                raise asyncpg.ClientCannotConnectError(f"cannot connect: {_why_not(error)}") from error
        else:
            return connection
    raise AssertionError("a DSN names at least one server")


def _why_not(error: Exception) -> str:
    if not isinstance(error, _FAILURES):
        return f"what it says is not understood ({type(error).__name__}: {error})"
    return in_words(error) + (_LOST_ON_THE_WAY if isinstance(error, TimeoutError) else "")


def in_words(error: BaseException) -> str:
    """One line: PostgreSQL's details and hints are in its own log."""
    match error:
        case asyncpg.TargetServerAttributeNotMatched():
            return "no server that can be written to: read-only, or a standby"
        case asyncpg.InternalClientError():
            return f"the connection broke ({error})"
        case TimeoutError():
            return "no answer in time"
        case asyncpg.ProtocolViolationError() if "startup parameter" in str(error):
            return f"{error}: to PgBouncer, name it in ignore_startup_parameters (README.md has the list)"
        case asyncpg.InvalidSQLStatementNameError() | asyncpg.DuplicatePreparedStatementError():
            return "a pooler mixes up prepared statements: set REMEDIATOR_DATABASE_STATEMENT_CACHE=0"
        case _:
            return str(error).partition("\n")[0] or type(error).__name__


def one_by_one(dsn: str) -> list[str]:
    """`postgresql://user@a,b:5433/name` -> one DSN a server. Raises `BadDocument` where it is none, and says nothing of
    it: what a password was taken for is part of it."""
    parts = _split(dsn)
    login, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        return [dsn]
    return [parts._replace(netloc=f"{login}{at}{host}").geturl() for host in hosts.split(",")]


_NO_ADDRESS = (
    "DATABASE_URL is no address of a database (postgresql://user:password@host:port/name, ports up to 65535): "
    "percent-encode what is special in user and password (@ is %40, / is %2F, # is %23, [ is %5B)"
)


def _split(dsn: str) -> SplitResult:
    try:
        parts = urlsplit(dsn)
        asked = parse_qs(parts.query)
    except ValueError:  # in it is what could not be read
        raise BadDocument(_NO_ADDRESS) from None
    login, _, hosts = parts.netloc.rpartition("@")
    ports = [*_ports(hosts), *(port for ports in asked.get("port", ()) for port in ports.split(","))]
    # A password that was cut off at its `/`, `?` or `#` leaves its rest, and the `@`, behind.
    if "@" in login + parts.path or parts.fragment or not all(_is_port(port) for port in ports):
        raise BadDocument(_NO_ADDRESS)
    return parts


def _ports(hosts: str) -> list[str]:
    """Also of `[::1]:5432`. An empty one is the usual one."""
    found = [host.rpartition("]")[2].partition(":")[2] for host in hosts.split(",")]
    return [port for port in found if port]


def _is_port(port: str) -> bool:
    return port.isascii() and port.isdecimal() and 0 < int(port) <= 65_535
