"""Processes of a run: the daemon as it is shipped, the floor and the load, and what the kernel says they used."""

import asyncio
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec

from tests.bench.load import DISTINCT, Order, Sent, Telling
from tests.system.daemon import TOKEN

READY_WITHIN = 60.0
_ALERTMANAGER = """
route:
  receiver: remediator
  group_by: ['...']
  group_wait: 0s
  group_interval: 1m
  repeat_interval: 1h
receivers:
  - name: remediator
    webhook_configs:
      - url: {webhook}
        max_alerts: 0
        http_config:
          authorization: {{ credentials: {token} }}
"""
_TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A process of the run did not do its part; what it said is in the message."""


@dataclass(frozen=True, slots=True)
class Served:
    """A process that listens."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """User and system time since it started."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024


async def load(order: Order) -> Sent:
    """Raises `Failed` where anything else than a 202 was answered."""
    process = await asyncio.create_subprocess_exec(
        *_python("tests.bench.load", msgspec.json.encode(order).decode()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, said = await process.communicate()
    if process.returncode:
        raise Failed(f"{order.alerts} alerts a POST, {order.connections} connections: {said.decode().strip()}")
    return msgspec.json.decode(out, type=Sent)


async def tell_once(served: Served) -> None:
    """The alerts that `Telling.AGAIN` repeats."""
    size = 500
    order = Order(ports=(served.port,), token=TOKEN, alerts=size, posts=DISTINCT // size, telling=Telling.AGAIN)
    await load(order)


@asynccontextmanager
async def floor(dsn: str) -> AsyncIterator[Served]:
    async with _serving("tests.bench.floor", dsn) as started:
        yield started


@asynccontextmanager
async def sink(cache: str = "") -> AsyncIterator[Served]:
    """`cache`: the Redis that its looks fill."""
    async with _serving("tests.bench.sink", cache) as started:
        yield started


@asynccontextmanager
async def daemon(environment: Mapping[str, str]) -> AsyncIterator[Served]:
    """`remediator serve` with its settings as they come, but for `environment`."""
    process, port = await daemon_process(environment)
    async with _until_left(process, port, "remediator serve") as started:
        yield started


async def daemon_process(environment: Mapping[str, str]) -> tuple[asyncio.subprocess.Process, int]:
    """Starting, on this port; whoever asks for it ends it."""
    port = free_port()
    settings = {"REMEDIATOR_PORT": str(port), "REMEDIATOR_LOG_LEVEL": "error", **environment}
    process = await asyncio.create_subprocess_exec(*_python("remediator", "serve"), env={**os.environ, **settings})
    return process, port


@asynccontextmanager
async def _serving(*command: str) -> AsyncIterator[Served]:
    """A module of ours; its first argument is the port to listen on."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(*_python(*command[:1], str(port), *command[1:]))
    async with _until_left(process, port, command[0]) as started:
        yield started


@asynccontextmanager
async def _until_left(
    process: asyncio.subprocess.Process, port: int, name: str, path: str = "/readyz"
) -> AsyncIterator[Served]:
    """Ready when entered, killed when left: a daemon that is asked to stop would finish what it has in hand first."""
    try:
        await ready(process, port, name, path=path)
        yield Served(port, process.pid)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@asynccontextmanager
async def alertmanager(binary: str, folder: Path, webhook: str) -> AsyncIterator[Served]:
    """A real one that tells `webhook` of every alert by itself and at once."""
    port = free_port()
    config = folder / "alertmanager.yml"
    config.write_text(_ALERTMANAGER.format(webhook=webhook, token=TOKEN))
    process = await asyncio.create_subprocess_exec(
        binary,
        f"--config.file={config}",
        f"--storage.path={folder / 'storage'}",
        "--cluster.listen-address=",
        f"--web.listen-address=127.0.0.1:{port}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,  # a line for every request that fails; they are counted in its metrics
    )
    async with _until_left(process, port, "prometheus-alertmanager", "/-/ready") as started:
        yield started


def free_port() -> int:
    """Below the ports that outgoing connections take: thousands of those come and go before the process listens."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port


def _python(*command: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", *command]


async def ready(process: asyncio.subprocess.Process, port: int, name: str, *, path: str = "/readyz") -> None:
    async with asyncio.timeout(READY_WITHIN), aiohttp.ClientSession() as session:
        while process.returncode is None:
            try:
                async with session.get(f"http://127.0.0.1:{port}{path}") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass  # not listening yet
            await asyncio.sleep(0.005)
    raise Failed(f"{name} ended with {process.returncode} before it was ready")
