"""`make bench`: how fast, next to its floor in the same run. Ratios carry over to other machines, figures do not."""

import asyncio
import os
import secrets
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import click
from aiohttp import web

from remediator.cli.tables import print_table
from remediator.store.embedded import EmbeddedPostgres
from tests.fakes.kubernetes import FakeCluster
from tests.system.daemon import TOKEN, payload
from tests.system.rules import SEVERITIES, write_rules

SECONDS = 5.0
SAMPLES = 100
Row = tuple[str, str, str, str, str]


async def main() -> None:
    click.echo(f"{os.cpu_count()} cores; the load generator, the daemon and PostgreSQL share them\n")
    with tempfile.TemporaryDirectory(prefix="remediator-bench-") as name:
        folder = Path(name)
        server = await EmbeddedPostgres.start(folder / "postgresql")
        try:
            rows = await measured(folder, server.dsn)
        finally:
            await server.stop()
    print_table(("what", "figure", "p50", "p99", "of its floor"), rows)


async def measured(folder: Path, dsn: str) -> list[Row]:
    pages = Arrivals()
    rows: list[Row] = []
    async with FakeCluster.serve() as cluster, listening(pages) as sink:
        rules = write_rules(
            folder / "rules",
            severities=SEVERITIES.replace("after_verify", "at_once"),
            oncall__channels=f"channels:\n  console: {{ use: webhook, url: '{sink}', secret: bench }}\n",
        )
        async with serving(folder, dsn, rules, cluster=cluster) as url, client() as session:
            rows += await latencies(session, url, cluster, pages=pages)
            for alerts, callers in ((1, 64), (100, 8)):
                rows.append(await intake(session, url, dsn, alerts=alerts, callers=callers))
    return rows


class Arrivals:
    """When a page for which deployment came in."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    async def receive(self, request: web.Request) -> web.Response:
        title = (await request.json())["title"]
        self.at.setdefault(title.rpartition("/")[2], time.perf_counter())
        return web.Response()


async def latencies(session: aiohttp.ClientSession, url: str, cluster: FakeCluster, *, pages: Arrivals) -> list[Row]:
    """One incident at a time: from the first byte of the webhook to the write and to the page's request."""
    acted: list[float] = []
    paged: list[float] = []
    for number in range(SAMPLES):
        name = f"app-{number}"
        cluster.deploy("bench", name, replicas=2)
        cluster.break_until_restarted("bench", name, pods=1)
        cluster.requests.clear()
        started = time.perf_counter()
        await post(
            session, url, payload("firing", {"alertname": "ServiceDown", "namespace": "bench", "deployment": name})
        )
        await until(lambda: bool(cluster.requests.writes))
        acted.append(time.perf_counter() - started)
        await until(lambda name=name: name in pages.at)  # type: ignore[misc]
        paged.append(pages.at[name] - started)
        cluster.delete("Deployment", "bench", name=name)  # the fake's own time grows with what is in it
    return [
        ("webhook to first action", f"{SAMPLES} incidents", *percentiles(acted), ""),
        ("webhook to first page", f"{SAMPLES} incidents", *percentiles(paged), ""),
    ]


async def intake(session: aiohttp.ClientSession, url: str, dsn: str, *, alerts: int, callers: int) -> Row:
    """Durable: a 2xx each. The floor writes the same number of rows in the same batches, and nothing else."""
    took: list[float] = []

    async def send() -> int:
        labels = [{"alertname": "Unmatched", "instance": secrets.token_hex(6)} for _ in range(alerts)]
        began = time.perf_counter()
        await post(session, url, payload("firing", *labels))
        took.append(time.perf_counter() - began)
        return alerts

    rate = await throughput(send, callers)
    floor = await insert_floor(dsn, callers * alerts)
    what = f"alerts stored, {alerts} a POST, {callers} senders"
    return (what, f"{rate:,.0f}/s", *percentiles(took), f"{rate / floor:.0%} of {floor:,.0f}/s")


async def insert_floor(dsn: str, batch: int) -> float:
    """Bare rows a second: one connection, one `unnest` insert and one commit a batch."""
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE IF NOT EXISTS floor (id bigserial PRIMARY KEY, body text NOT NULL)")
    body = "x" * 300

    async def insert() -> int:
        await connection.execute("INSERT INTO floor (body) SELECT unnest($1::text[])", [body] * batch)
        return batch

    rate = await throughput(insert, 1)
    await connection.close()
    return rate


async def throughput(work: Callable[[], Awaitable[int]], callers: int) -> float:
    """Units a second over `SECONDS`, by so many callers at once."""
    ends = time.perf_counter() + SECONDS
    done = 0

    async def caller() -> None:
        nonlocal done
        while time.perf_counter() < ends:
            units = await work()
            done += units

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return done / (time.perf_counter() - began)


async def post(session: aiohttp.ClientSession, url: str, body: object) -> None:
    async with session.post(f"{url}/webhooks/alertmanager", json=body) as response:
        if response.status != 202:
            raise RuntimeError(f"answered {response.status}: {await response.text()}")


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110  # what is waited for happens in this very loop
            await asyncio.sleep(0.0005)


def percentiles(seconds: list[float]) -> tuple[str, str]:
    cuts = statistics.quantiles(seconds, n=100)
    return f"{cuts[49] * 1000:.1f} ms", f"{cuts[98] * 1000:.1f} ms"


@asynccontextmanager
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        yield session


@asynccontextmanager
async def listening(pages: Arrivals) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes([web.post("/", pages.receive)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


@asynccontextmanager
async def serving(folder: Path, dsn: str, rules: Path, *, cluster: FakeCluster) -> AsyncIterator[str]:
    """The daemon in a process of its own, with its settings as they come."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {
        "DATABASE_URL": dsn,
        "REMEDIATOR_MODE": "act",
        "REMEDIATOR_PORT": str(port),
        "REMEDIATOR_DATA_DIR": str(folder / "data"),
        "REMEDIATOR_RULES_DIR": str(rules),
        "REMEDIATOR_WEBHOOKS__TOKENS": f'{{"alertmanager": ["{TOKEN}"]}}',
        "REMEDIATOR_SECRETS": '{"bench": "signing"}',
        "REMEDIATOR_KUBERNETES__ENABLED": "true",
        "REMEDIATOR_KUBERNETES__KUBECONFIG": str(cluster.write_kubeconfig(folder / "kubeconfig")),
        "REMEDIATOR_LOG_LEVEL": "error",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-m", "remediator", "serve", env=os.environ | environment
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await ready(url)
        yield url
    finally:
        process.terminate()
        await process.wait()


async def ready(url: str) -> None:
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass  # not listening yet
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(main())
