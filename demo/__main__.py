"""`make demo`: one incident that is fixed before anybody is woken, one whose fix fails and which pages."""

import asyncio
import os
import secrets
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import click

from demo.platform import NAMESPACE, Platform, open_platform
from demo.rules import shortened_rules
from remediator.app import daemon
from remediator.cli.tables import one_line
from remediator.logs import configure_logs
from remediator.secrets_kept import API_TOKEN_FILE
from remediator.settings import Settings

SHIPPED = Path(__file__).parent.parent / "rules"
COLOURS = {"alert": "red", "fix": "yellow", "page": "magenta", "verified": "green", "resolved": "green", "plan": "cyan"}
PATIENCE_SECONDS = 40


@dataclass
class Story:
    """Tells an incident's timeline, line by line as it is written."""

    url: str
    session: aiohttp.ClientSession
    told: int = 0

    async def tell(self, number: int, *, until: Callable[[dict[str, Any]], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        self.told = 0
        while time.monotonic() < deadline:
            incident = await self._read(number)
            self._tell_news(incident.get("timeline", []))
            if incident and until(incident):
                return
            await asyncio.sleep(0.1)
        click.secho("  (this takes longer than it should; the daemon's log says why)", fg="red")

    async def _read(self, number: int) -> dict[str, Any]:
        async with self.session.get(f"{self.url}/api/v1/incidents/{number}") as response:
            found: dict[str, Any] = await response.json() if response.status == 200 else {}
            return found

    def _tell_news(self, timeline: list[dict[str, Any]]) -> None:
        for entry in timeline[self.told :]:
            kind = click.style(entry["kind"].ljust(9), fg=COLOURS.get(entry["kind"]), bold=True)
            path = click.style(entry["path"].ljust(17), dim=True)
            click.echo(f"  {entry['at'][11:19]}  {kind} {path} {one_line(entry['message'])}")
        self.told = len(timeline)


async def main() -> None:
    started = time.monotonic()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    click.secho("Remediator demo: everything is real but the cluster behind the Kubernetes API.\n", bold=True)
    with tempfile.TemporaryDirectory(prefix="remediator-demo-") as folder:
        async with open_platform() as platform:
            await run(platform, Path(folder), stop, started=started)
    click.echo("stopped cleanly")


async def run(platform: Platform, folder: Path, stop: asyncio.Event, *, started: float) -> None:
    token = secrets.token_urlsafe(16)
    settings = settings_for(platform, folder, token)
    async with daemon(settings) as running:
        click.echo(f"daemon up after {time.monotonic() - started:.1f} s at {running.url}, mode act, rules: shipped")
        api_token = (settings.data_dir / API_TOKEN_FILE).read_text()
        reporter = asyncio.create_task(platform.report(f"{running.url}/webhooks/alertmanager", token))
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {api_token}"}) as session:
            playing = asyncio.create_task(play(platform, Story(running.url, session)))
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait({playing, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                playing.result()
                tell_where(running.url, api_token, settings.data_dir)
                await stop.wait()
            for task in (playing, reporter, stopping):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task


async def play(platform: Platform, story: Story) -> None:
    platform.cluster.deploy(NAMESPACE, "frontend", replicas=2, image="registry.example/frontend:1.9")
    platform.cluster.deploy(NAMESPACE, "backend", replicas=3, image="registry.example/backend:4.2")
    click.secho("\n1. The frontend leaks memory.", bold=True)
    platform.leak_memory("frontend")
    await story.tell(1, until=lambda incident: incident["status"] == "resolved")
    click.secho("\n2. The backend is down, and no fix of the runbook helps.", bold=True)
    platform.break_for_good("backend")
    await story.tell(2, until=lambda incident: incident["phase"] == "handed_over" and _was_paged(incident))


def _was_paged(incident: dict[str, Any]) -> bool:
    return any(entry["message"].startswith("page sent") for entry in incident["timeline"])


def settings_for(platform: Platform, folder: Path, token: str) -> Settings:
    configure_logs("error", "console")
    folder.chmod(0o711)  # as root, its PostgreSQL is another user
    return Settings.model_validate(
        {
            "mode": "act",
            "rules_dir": shortened_rules(SHIPPED, folder / "rules", platform_url=platform.url),
            "data_dir": folder / "data",
            "port": int(os.environ.get("REMEDIATOR_PORT", "0")),
            "webhooks": {"tokens": {"alertmanager": [token]}},
            "kubernetes": {
                "enabled": True,
                "kubeconfig": platform.cluster.write_kubeconfig(folder / "kubeconfig"),
            },
            "prometheus": {"default": {"url": platform.url}},
            "engine": {"recheck_seconds": 0.5, "poll_seconds": 0.2},
        }
    )


def tell_where(url: str, token: str, data_dir: Path) -> None:
    click.secho("\nThe daemon keeps running; Ctrl-C stops it.", bold=True)
    click.echo(f"  browser   {url}/incidents   (any user, password {token})")
    click.echo(f"  terminal  .venv/bin/remediator incidents list --url {url} --data-dir {data_dir}")


if __name__ == "__main__":
    asyncio.run(main())
