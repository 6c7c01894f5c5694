"""Runs the whole daemon in this process, on a fake cluster and a fresh database; waits are fractions of a second."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
from pydantic import SecretStr

from remediator.app import Daemon, daemon
from remediator.settings import Settings
from tests.cluster.eventually import eventually

TOKEN = "sender-token"
API_TOKEN = "api-token"
YEAR_1 = "0001-01-01T00:00:00Z"


def settings_for(
    folder: Path, rules: Path, *, database_url: str, kubeconfig: Path | None, mode: str = "act"
) -> Settings:
    return Settings.model_validate(
        {
            "mode": mode,
            "rules_dir": rules,
            "data_dir": folder / "data",
            "database_url": database_url,
            "port": 0,
            "webhooks": {"tokens": {"alertmanager": [TOKEN]}},
            "api_tokens": {"tests": {"token": API_TOKEN, "roles": ["read", "respond", "approve"]}},
            "kubernetes": {"enabled": kubeconfig is not None, "kubeconfig": kubeconfig},
            "engine": {"poll_seconds": 0.05, "recheck_seconds": 0.1},
            "link_secret": SecretStr("links"),
        }
    )


@dataclass
class Client:
    """What senders and people do, over HTTP."""

    url: str
    session: aiohttp.ClientSession

    async def alert(self, **labels: str) -> int:
        return await self._send("firing", labels)

    async def resolve(self, **labels: str) -> int:
        return await self._send("resolved", labels)

    async def incidents(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.get("/api/v1/incidents"))["incidents"]
        return found

    async def incident(self, number: int) -> dict[str, Any]:
        found: dict[str, Any] = await self.get(f"/api/v1/incidents/{number}")
        return found

    async def get(self, path: str) -> Any:
        async with self.session.get(self.url + path, headers=_bearer(API_TOKEN)) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def post(self, path: str, body: object) -> tuple[int, Any]:
        async with self.session.post(self.url + path, json=body, headers=_bearer(API_TOKEN)) as response:
            return response.status, await response.json()

    async def until(self, number: int, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The incident, once `holds`; fails with its timeline where that takes too long."""
        seen: dict[str, Any] = {}

        async def is_so() -> bool:
            seen.update(await self.incident(number))
            return holds(seen)

        try:
            await eventually(is_so, within=15)
        except TimeoutError as error:
            raise AssertionError("\n".join(told(seen))) from error
        return seen

    async def _send(self, status: str, labels: dict[str, str]) -> int:
        headers = _bearer(TOKEN)
        async with self.session.post(
            f"{self.url}/webhooks/alertmanager", json=payload(status, labels), headers=headers
        ) as response:
            return response.status


def payload(status: str, *alerts: dict[str, str]) -> dict[str, object]:
    now = datetime.now(UTC).isoformat()
    return {
        "version": "4",
        "status": status,
        "alerts": [
            {
                "status": status,
                "labels": labels,
                "annotations": {},
                "startsAt": now,
                "endsAt": now if status == "resolved" else YEAR_1,
                "generatorURL": "",
                "fingerprint": "",
            }
            for labels in alerts
        ],
    }


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[tuple[Daemon, Client]]:
    async with daemon(settings) as started, aiohttp.ClientSession() as session:
        yield started, Client(started.url, session)


def told(incident: dict[str, Any]) -> list[str]:
    return [f"{e['kind']} {e['path']}: {e['message']}" for e in incident.get("timeline", ())]


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
