"""An SMTP server that keeps what it is given, and refuses when told to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass
class SmtpSink:
    port: int = 0
    rcpt_answer: str = "250 ok"
    refused: dict[str, str] = field(default_factory=dict)
    """Recipient -> the answer to this one alone."""
    hangs_up_at: str = ""
    """The command that it does not answer any more; at DATA when it has all of the mail."""
    silent_at: str = ""
    """Likewise, but the connection stays."""
    messages: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._converse(reader, writer)
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink\r\n")
        while line := (await reader.readline()).decode():
            match command := line.split(":")[0].split()[0].upper():
                case "RCPT":
                    answer = self.refused.get(line.partition("<")[2].partition(">")[0], self.rcpt_answer)
                case "DATA":
                    writer.write(b"354 go on\r\n")
                    self.messages.append((await reader.readuntil(b"\r\n.\r\n")).decode())
                    answer = "250 kept"
                case "QUIT":
                    answer = "221 bye"
                case _:
                    answer = "250 ok"
            if command == self.hangs_up_at:
                break
            if command != self.silent_at:
                writer.write(f"{answer}\r\n".encode())
        await writer.drain()


@asynccontextmanager
async def smtp_sink() -> AsyncIterator[SmtpSink]:
    sink = SmtpSink()
    serving: list[asyncio.Task[None]] = []

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.create_task(sink.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()
        await asyncio.gather(*serving, return_exceptions=True)
