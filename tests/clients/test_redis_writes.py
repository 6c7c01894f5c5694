"""A write to Redis leaves once, and its fence is asked when there is a connection to write on."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

import pytest

from remediator.clients.redis_target import connect_redis
from remediator.domain.errors import Ambiguous, NotAllowed

HELLO = b"%1\r\n$5\r\nproto\r\n:3\r\n"


@dataclass
class MuteRedis:
    """Lets everybody in, and does not say what became of a write."""

    url: str = ""
    asked: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while command := await _command(reader):
            self.asked.append(command)
            if command != "UNLINK":
                writer.write(HELLO if command == "HELLO" else b"+OK\r\n")
        writer.close()


async def _command(reader: asyncio.StreamReader) -> str:
    """The first word of it; empty at the end."""
    words = []
    for _ in range(int((await reader.readline())[1:] or b"0")):
        length = int((await reader.readline())[1:])
        words.append((await reader.readexactly(length + 2))[:-2].decode())
    return words[0] if words else ""


@pytest.fixture
async def server() -> AsyncIterator[MuteRedis]:
    mute = MuteRedis()
    async with await asyncio.start_server(mute.serve, "127.0.0.1") as listening:
        mute.url = f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}/0"
        yield mute


@pytest.mark.parametrize("is_kept", [True, False], ids=["on a kept connection", "on a new connection"])
async def test_the_fence_is_asked_once_redis_has_let_us_in(server: MuteRedis, is_kept: bool) -> None:
    """A replica that froze while it connected had asked before, and wrote all the same when it came back."""
    asked_by_then = []

    def refuse() -> None:
        asked_by_then.extend(server.asked)
        raise NotAllowed("the lease ran out")

    async with connect_redis("cache", server.url) as (reader, writer):
        if is_kept:
            await reader.run(["PING"])
        with pytest.raises(NotAllowed, match="the lease ran out"):
            await replace(writer, fence=refuse).unlink([b"feed:1"])

    assert asked_by_then[0] == "HELLO"
    assert asked_by_then == server.asked


@pytest.mark.parametrize(
    "query", ["", "&retry_on_timeout=yes", "&retry_on_error=x", "&retry=x", "&health_check_interval=1"]
)
async def test_a_write_without_an_answer_is_sent_once_whatever_the_url_says(server: MuteRedis, query: str) -> None:
    async with connect_redis("cache", f"{server.url}?socket_timeout=0.1{query}") as (_, writer):
        with pytest.raises(Ambiguous):
            await writer.unlink([b"feed:1"])

    assert server.asked.count("UNLINK") == 1
    assert "PING" not in server.asked
