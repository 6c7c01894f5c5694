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
    messages: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 sink\r\n")
        while line := (await reader.readline()).decode():
            match line.split(":")[0].split()[0].upper():
                case "RCPT":
                    answer = self.refused.get(line.partition("<")[2].partition(">")[0], self.rcpt_answer)
                case "DATA":
                    writer.write(b"354 go on\r\n")
                    self.messages.append((await reader.readuntil(b"\r\n.\r\n")).decode())
                    answer = "250 kept"
                case "QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                case _:
                    answer = "250 ok"
            writer.write(f"{answer}\r\n".encode())
        await writer.drain()
        writer.close()


@asynccontextmanager
async def smtp_sink() -> AsyncIterator[SmtpSink]:
    sink = SmtpSink()
    server = await asyncio.start_server(sink.serve, "127.0.0.1", 0)
    sink.port = server.sockets[0].getsockname()[1]
    yield sink
    server.close()
