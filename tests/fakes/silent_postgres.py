"""A socket in front of a real PostgreSQL, which goes deaf when it is told a certain thing: connected, and no answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


@asynccontextmanager
async def falling_silent_at(statement: str, dsn: str, folder: Path) -> AsyncIterator[str]:
    """The DSN to use. Whoever connects after that is let in by the system, and not answered either."""
    parts = urlsplit(dsn)
    behind = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
    silent = asyncio.Event()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(behind)
        try:
            async with asyncio.TaskGroup() as group:
                answers = group.create_task(_carry(server_reader, writer, silent, until=""))
                await _carry(reader, server_writer, silent, until=statement)
                answers.cancel()
        finally:
            server_writer.close()
            writer.close()

    server = await asyncio.start_unix_server(relay, folder / ".s.PGSQL.5432")
    try:
        yield parts._replace(query=f"host={folder}").geturl()
    finally:
        server.close()


async def _carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silent: asyncio.Event, *, until: str
) -> None:
    while packet := await reader.read(65_536):
        if until and until.encode() in packet:
            silent.set()
        if not silent.is_set():
            writer.write(packet)
