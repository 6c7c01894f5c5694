"""A look into a Redis or Valkey."""

import re
import time
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field, field_validator

from remediator.clients.redis_target import check_looks
from remediator.diagnostics import Diagnostic, Look
from remediator.domain.errors import NotAllowed
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
    used_memory: float
    """Share of `maxmemory`; 0 where none is set, or where this was no `INFO memory`."""


class RedisCommand(Diagnostic):
    """Runs one command of the read-only list (PING, INFO, DBSIZE, SLOWLOG GET ...) and keeps its answer."""

    Facts: ClassVar[type] = Facts

    connection: str = Field(min_length=1)
    """The name of a Redis connection in the settings."""
    command: list[str] = Field(default=["PING"], min_length=1, max_length=8)

    @field_validator("command", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        return value.split() if isinstance(value, str) else value

    @field_validator("command")
    @classmethod
    def _only_looks(cls, command: list[str]) -> list[str]:
        try:
            check_looks(command)
        except NotAllowed as error:
            raise ValueError(str(error)) from error
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


def _memory_share(answer: Any) -> float:
    if not isinstance(answer, dict) or not answer.get("maxmemory"):
        return 0.0
    return round(float(answer.get("used_memory", 0)) / float(answer["maxmemory"]), 4)
