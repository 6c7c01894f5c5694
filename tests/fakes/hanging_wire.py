"""A TCP port before PostgreSQL's socket that can swallow every byte and close nothing, as a broken network does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

_A_PACKET = 65_536


@dataclass
class HangingWire:
    hangs_at: str = ""
    """It hangs by itself when these words are said to the server, and they do not arrive either."""
    forgets: bool = False
    """Then those that are open hang, and new ones do not."""
    _flows: asyncio.Event = field(default_factory=asyncio.Event)
    _ends: set[asyncio.StreamWriter] = field(default_factory=set)

    @asynccontextmanager
    async def before(self, dsn: str) -> AsyncIterator[str]:
        """The DSN to use."""
        self._flows.set()
        parts = urlsplit(dsn)
        self._behind = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
        server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            yield parts._replace(netloc=f"postgres@127.0.0.1:{port}", query="").geturl()
        finally:
            server.close()
            self.cut()

    def hang(self) -> None:
        """Connections are taken, and nothing comes through."""
        self._flows.clear()

    def forget(self) -> None:
        """Connections that are open carry nothing any more, and nobody hears of it; new ones do. So does a gateway that
        lost its table."""
        self._flows.clear()
        self._flows = asyncio.Event()
        self._flows.set()

    def go_on(self) -> None:
        """What was on the way arrives, also what was said by those who have hung up meanwhile."""
        self._flows.set()

    def cut(self) -> None:
        """What was on the way is lost, and both sides hear that it is; new connections are let through."""
        for end in tuple(self._ends):
            end.transport.abort()
        self._flows.set()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends, flows = {writer}, self._flows
        self._ends.add(writer)
        try:
            await flows.wait()
            server_reader, server_writer = await asyncio.open_unix_connection(self._behind)
            ends.add(server_writer)
            self._ends.add(server_writer)
            asked = self._carry(reader, server_writer, flows, hangs_at=self.hangs_at.encode())
            await asyncio.gather(asked, self._carry(server_reader, writer, flows))
        except OSError:
            pass
        finally:
            self._ends -= ends
            for end in ends:
                end.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event, *, hangs_at: bytes = b""
    ) -> None:
        """A side that was cut off must carry nothing more: what it has read is lost."""
        with suppress(OSError):
            while packet := await reader.read(_A_PACKET):
                if hangs_at and hangs_at in packet:
                    (self.forget if self.forgets else self.hang)()
                await flows.wait()
                writer.write(packet)
                await writer.drain()
        writer.close()
