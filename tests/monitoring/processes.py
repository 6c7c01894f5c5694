"""A real Prometheus and a real Alertmanager (Debian packages), as impatient as their settings allow."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from tests.cluster.eventually import eventually
from tests.fakes.programs import program

_ALERTMANAGER = """
route:
  receiver: remediator
  group_by: ['...']
  group_wait: {group_wait}
  group_interval: 1s
  repeat_interval: 1h
{more}
receivers:
  - name: remediator
    webhook_configs:
      - url: {webhook}
        send_resolved: true
        max_alerts: 0
        http_config:
          authorization: {{ credentials: {token} }}
"""

_PROMETHEUS = """
global: {{ scrape_interval: 1s, evaluation_interval: 1s }}
rule_files: [{rules}]
alerting:
  alertmanagers:
    - static_configs: [{{ targets: ['{alertmanager}'] }}]
scrape_configs:
  - job_name: service
    static_configs: [{{ targets: ['{target}'] }}]
"""


@asynccontextmanager
async def alertmanager(
    folder: Path, *, webhook: str, token: str, group_wait: str = "0s", more: str = ""
) -> AsyncIterator[str]:
    """Gives `host:port`. `more` is configuration that goes on at the end of the root's route."""
    address = _free_address()
    text = _ALERTMANAGER.format(webhook=webhook, token=token, group_wait=group_wait, more=more)
    config = _written(folder / "alertmanager.yml", text)
    arguments = [f"--config.file={config}", f"--storage.path={folder / 'alertmanager'}", "--cluster.listen-address="]
    async with _running("prometheus-alertmanager", *arguments, address=address):
        yield address


@asynccontextmanager
async def prometheus(folder: Path, *, rules: str, target: str, alertmanager: str) -> AsyncIterator[str]:
    """Scrapes `target` (host:port) and tells `alertmanager` what `rules` make of it. Gives `host:port`."""
    address = _free_address()
    rule_file = _written(folder / "rules.yml", rules)
    text = _PROMETHEUS.format(rules=rule_file, alertmanager=alertmanager, target=target)
    config = _written(folder / "prometheus.yml", text)
    arguments = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    async with _running("prometheus", *arguments, address=address):
        yield address


@asynccontextmanager
async def _running(name: str, *arguments: str, address: str) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        program(name), *arguments, f"--web.listen-address={address}", "--log.level=warn"
    )
    try:
        await eventually(lambda: _is_ready(address))
        yield
    finally:
        process.terminate()
        await process.wait()


async def _is_ready(address: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://{address}/-/ready") as response:
            return response.status == 200
    except aiohttp.ClientConnectionError:
        return False


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"
