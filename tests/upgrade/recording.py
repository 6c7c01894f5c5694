"""What a release says to its database, as data: recorded once from its code, said again to every later schema."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec

from remediator.store.database import Connection


@dataclass(frozen=True, slots=True)
class Statement:
    method: str
    """Of asyncpg's connection."""
    sql: str
    arguments: Sequence[Any]
    answer: Any
    """Column names, and their values as far as they do not depend on the time."""


@dataclass
class Recorder:
    statements: list[Statement] = field(default_factory=list)

    async def watch(
        self,
        _connection: "asyncpg.Connection[Any]",
        method: str,
        sql: str,
        arguments: Sequence[Any],
        go_on: Callable[[], Awaitable[Any]],
    ) -> Any:
        answer = await go_on()
        self.statements.append(Statement(method, sql, arguments, timeless(answer)))
        return answer


async def say(connection: Connection, statement: Statement) -> Any:
    """What is answered today."""
    return timeless(await getattr(connection, statement.method)(statement.sql, *statement.arguments))


def timeless(answer: Any) -> Any:
    """An answer that is the same on every day and every machine."""
    match answer:
        case asyncpg.Record():
            return {name: timeless(value) for name, value in answer.items()}
        case list() | tuple():
            return [timeless(value) for value in answer]
        case datetime() | timedelta():
            return type(answer).__name__
        case UUID():
            return str(answer)
        case _:
            return answer


def save(statements: Sequence[Statement], file: Path) -> None:
    lines = [
        json.dumps({"method": s.method, "sql": s.sql, "arguments": _written(s.arguments), "answer": s.answer})
        for s in statements
    ]
    file.write_text("\n".join(lines) + "\n")


def load(file: Path) -> list[Statement]:
    found = [json.loads(line) for line in file.read_text().splitlines()]
    return [Statement(f["method"], f["sql"], _read(f["arguments"]), f["answer"]) for f in found]


def _written(value: Any) -> Any:  # noqa: PLR0911  # a table
    match value:
        case datetime():
            return {"!moment": value.isoformat()}
        case timedelta():
            return {"!seconds": value.total_seconds()}
        case UUID():
            return {"!uuid": str(value)}
        case bytes():
            return {"!bytes": value.hex()}
        case dict():
            return {name: _written(each) for name, each in value.items()}
        case list() | tuple():
            return [_written(each) for each in value]
        case _:
            return msgspec.to_builtins(value)


def _read(value: Any) -> Any:  # noqa: PLR0911  # a table
    match value:
        case {"!moment": moment}:
            return datetime.fromisoformat(moment)
        case {"!seconds": seconds}:
            return timedelta(seconds=seconds)
        case {"!uuid": number}:
            return UUID(number)
        case {"!bytes": digits}:
            return bytes.fromhex(digits)
        case dict():
            return {name: _read(each) for name, each in value.items()}
        case list():
            return [_read(each) for each in value]
        case _:
            return value
