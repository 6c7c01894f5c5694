"""Processes of a run: the daemon as it is shipped, the floor and the load, and what the kernel says they used."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec

from tests.bench.load import Order, Sent

READY_WITHIN = 60.0
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


@asynccontextmanager
async def floor(dsn: str) -> AsyncIterator[Served]:
    port = free_port()
    async with served(_python("tests.bench.floor", dsn, str(port)), port, environment={}) as started:
        yield started


@asynccontextmanager
async def sink(cache: str = "") -> AsyncIterator[Served]:
    """`cache`: the Redis that its looks fill."""
    port = free_port()
    async with served(_python("tests.bench.sink", str(port), cache), port, environment={}) as started:
        yield started


@asynccontextmanager
async def daemon(environment: Mapping[str, str]) -> AsyncIterator[Served]:
    """`remediator serve` with its settings as they come, but for `environment`."""
    port = free_port()
    settings = {"REMEDIATOR_PORT": str(port), "REMEDIATOR_LOG_LEVEL": "error", **environment}
    async with served(_python("remediator", "serve"), port, environment=settings) as started:
        yield started


@asynccontextmanager
async def served(command: list[str], port: int, *, environment: Mapping[str, str]) -> AsyncIterator[Served]:
    """Ready when entered, killed when left: a daemon that is asked would finish what it has in hand first."""
    process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **environment})
    try:
        await ready(process, port, " ".join(command[-3:]))
        yield Served(port, process.pid)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", module, *arguments]


async def ready(process: asyncio.subprocess.Process, port: int, name: str) -> None:
    async with asyncio.timeout(READY_WITHIN), aiohttp.ClientSession() as session:
        while process.returncode is None:
            try:
                async with session.get(f"http://127.0.0.1:{port}/readyz") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientConnectionError:
                pass  # not listening yet
            await asyncio.sleep(0.005)
    raise Failed(f"{name} ended with {process.returncode} before it was ready")
