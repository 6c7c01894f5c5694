"""The floor under the intake: the same handler without our logic.

The same HTTP server with the same settings reads the same JSON and answers 202 after the commit; a group commit stores
one bare row an alert. No authentication, no episodes, no rules, no incidents. `python -m tests.bench.floor PORT DSN`.
"""

import asyncio
import socket
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime

import asyncpg
import msgspec
import uvloop
from aiohttp import web

from remediator.web.server import BACKLOG, KEEP_ALIVE_SECONDS

TABLE = """CREATE TABLE IF NOT EXISTS floor (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source text NOT NULL, fingerprint text NOT NULL, labels jsonb NOT NULL, starts_at timestamptz NOT NULL)"""

INSERT = """INSERT INTO floor (source, fingerprint, labels, starts_at)
    SELECT * FROM unnest($1::text[], $2::text[], $3::jsonb[], $4::timestamptz[])"""

BODY_LIMIT = 64 << 20


class RawAlert(msgspec.Struct, frozen=True):
    labels: Mapping[str, str]
    fingerprint: str
    starts_at: datetime = msgspec.field(name="startsAt")


class RawDelivery(msgspec.Struct, frozen=True):
    alerts: Sequence[RawAlert]


async def insert(connection: "asyncpg.Connection[asyncpg.Record]", alerts: Sequence[RawAlert]) -> None:
    await connection.execute(
        INSERT,
        ["alertmanager"] * len(alerts),
        [alert.fingerprint for alert in alerts],
        [msgspec.json.encode(alert.labels).decode() for alert in alerts],
        [alert.starts_at for alert in alerts],
    )


class Floor:
    """Handlers wait for the one writer, which commits whatever waits."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self._decoder = msgspec.json.Decoder(RawDelivery)
        self._waiting: list[tuple[Sequence[RawAlert], asyncio.Future[None]]] = []
        self._arrived = asyncio.Event()

    async def receive(self, request: web.Request) -> web.Response:
        alerts = self._decoder.decode(await request.read()).alerts
        stored = asyncio.get_running_loop().create_future()
        self._waiting.append((alerts, stored))
        self._arrived.set()
        await stored
        return web.json_response({"stored": len(alerts)}, status=202)

    async def write(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            batch, self._waiting = self._waiting, []
            await insert(self._connection, [alert for alerts, _ in batch for alert in alerts])
            for _, stored in batch:
                stored.set_result(None)


async def serve(port: int, dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(TABLE)
    floor = Floor(connection)
    app = web.Application(client_max_size=BODY_LIMIT)
    app.add_routes([web.post("/webhooks/alertmanager", floor.receive), web.get("/readyz", _ready)])
    runner = web.AppRunner(app, access_log=None, keepalive_timeout=KEEP_ALIVE_SECONDS, auto_decompress=False)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
    await web.SockSite(runner, listening, backlog=BACKLOG).start()
    await floor.write()


async def _ready(request: web.Request) -> web.Response:
    return web.Response()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(serve(int(sys.argv[1]), sys.argv[2]))
