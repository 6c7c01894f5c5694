"""A look into a Redis or Valkey."""

import re
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field, ValidationError, field_validator
from pydantic_core import InitErrorDetails

from remediator.clients.redis_looks import NotALook, as_sent
from remediator.diagnostics import Diagnostic, Look
from remediator.domain.incident import Incident
from remediator.domain.number import number_of
from remediator.toolbox import Toolbox

_NUMBER = re.compile(rb"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Facts:
    text: str
    """The answer, cut to 2,000 characters."""
    number: float | None
    """The answer where it is a number or reads as one; else it has no value: `has()` asks, to read it is an error."""
    seconds: float
    """How long the server took to answer."""
    used_memory: float | None
    """Share of `maxmemory`. It has no value where none is set, or where this was no `INFO memory`."""


class RedisCommand(Diagnostic):
    """Runs one read-only command and keeps its answer, which is short: no CONFIG, no KEYS, no value of any size."""

    Facts: ClassVar[type] = Facts

    connection: str = Field(min_length=1)
    """The name of a Redis connection in the settings."""
    command: list[str] = Field(default=["PING"], min_length=1, max_length=8)
    """About the server PING, INFO, DBSIZE, ROLE, TIME, LASTSAVE, CLUSTER INFO, LATENCY DOCTOR, LATENCY HISTORY,
    LATENCY LATEST, MEMORY DOCTOR, MEMORY STATS, SLOWLOG GET, SLOWLOG LEN; about keys EXISTS, TYPE, TTL, PTTL, GET (sent
    as GETRANGE: 8 KiB of the value, nothing of a key that is not there), GETRANGE, STRLEN, LLEN, HLEN, SCARD, ZCARD,
    ZCOUNT, XLEN, XPENDING, XINFO GROUPS, MEMORY USAGE, OBJECT ENCODING, OBJECT FREQ, OBJECT IDLETIME. An answer beyond
    1 MiB or 10,000 elements is an error."""

    @field_validator("command", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        return value.split() if isinstance(value, str) else value

    @field_validator("command")
    @classmethod
    def _only_looks(cls, command: list[str]) -> list[str]:
        try:
            as_sent(command)
        except NotALook as error:
            raise _at(error, command) from error
        return command

    async def examine(self, incident: Incident, tools: Toolbox) -> Look:
        started = time.monotonic()
        answer = await tools.redis(self.connection).run(self.command)
        facts = Facts(
            text=in_words(answer)[:2_000],
            number=_number(answer),
            seconds=round(time.monotonic() - started, 4),
            used_memory=_memory_share(answer),
        )
        return Look(f"{self.connection}: {' '.join(self.command)} -> {facts.text[:120]}", facts)


def _at(error: NotALook, command: list[str]) -> ValidationError:
    """About the word that is wrong, for the others may wait for values that are known at night only."""
    place = () if error.word is None else (error.word,)
    detail = InitErrorDetails(type="value_error", loc=place, input=command, ctx={"error": ValueError(str(error))})
    return ValidationError.from_exception_data("command", [detail])


def in_words(answer: Any) -> str:
    match answer:
        case bytes():
            return answer.decode("utf-8", "replace")
        case dict():
            return ", ".join(f"{in_words(key)}={in_words(value)}" for key, value in answer.items())
        case list() | tuple():
            return ", ".join(map(in_words, answer))
        case _:
            return str(answer)


def _number(answer: Any) -> float | None:
    """GET answers a counter as text. What else Python reads as a number ("nan", "1_000") is none here."""
    return number_of(float(answer) if isinstance(answer, bytes) and _NUMBER.fullmatch(answer) else answer)


def _memory_share(answer: Any) -> float | None:
    if not isinstance(answer, dict) or not answer.get("maxmemory") or "used_memory" not in answer:
        return None
    return round(float(answer["used_memory"]) / float(answer["maxmemory"]), 4)
