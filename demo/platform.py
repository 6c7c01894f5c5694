"""A small production: a simulated Kubernetes API, a Prometheus that measures it, an Alertmanager that tells on it.

Remediator speaks to all three over HTTP, as it would to the real ones.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import aiohttp
from aiohttp import web

from tests.fakes.kubernetes import FakeCluster

NAMESPACE = "social-live-prod"
YEAR_1 = "0001-01-01T00:00:00Z"
"""What Alertmanager sends as `endsAt` of a firing alert."""


@dataclass
class Platform:
    cluster: FakeCluster
    url: str = ""
    """Where its Prometheus, and the service's own health check, answer."""
    firing: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Alert name -> labels."""
    leaking: set[str] = field(default_factory=set)
    """Uids of the pods that leak memory, until they are replaced."""

    def leak_memory(self, deployment: str) -> None:
        self.leaking = self._uids(deployment)
        self.cluster.set_usage(NAMESPACE, deployment, cpu="20m", memory="240Mi")
        self._fire("HighMemoryUsage", deployment)

    def break_for_good(self, deployment: str) -> None:
        self.cluster.set_usage(NAMESPACE, deployment, cpu="92m", memory="100Mi")
        self.cluster.set_logs(NAMESPACE, deployment, text="ERROR connection to the database refused\n" * 20)
        self.cluster.break_pods(NAMESPACE, deployment)
        self._fire("ServiceDown", deployment)

    async def report(self, webhook: str, token: str) -> None:
        """Sends what fires, and what has stopped, every half second until cancelled, as an Alertmanager would."""
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
            while True:
                for name, labels in list(self.firing.items()):
                    resolved = self._is_over(name, labels["deployment"])
                    async with session.post(webhook, json=_payload(labels, resolved=resolved)) as response:
                        response.raise_for_status()
                    if resolved:
                        del self.firing[name]
                await asyncio.sleep(0.5)

    def _fire(self, alertname: str, deployment: str) -> None:
        self.firing[alertname] = {"alertname": alertname, "namespace": NAMESPACE, "deployment": deployment}

    def _is_over(self, alertname: str, deployment: str) -> bool:
        if alertname != "HighMemoryUsage" or self.leaking & self._uids(deployment):
            return False
        self.cluster.set_usage(NAMESPACE, deployment, cpu="20m", memory="90Mi")
        return True

    def _uids(self, deployment: str) -> set[str]:
        return {pod["metadata"]["uid"] for pod in self.cluster.pods(NAMESPACE, deployment)}

    async def query(self, request: web.Request) -> web.Response:
        """Any PromQL: a high value while something burns."""
        sample = [datetime.now(UTC).timestamp(), "0.4" if self.firing else "0.001"]
        data = {"resultType": "vector", "result": [{"metric": {}, "value": sample}]}
        return web.json_response({"status": "success", "data": data})

    async def health(self, request: web.Request) -> web.Response:
        down = "ServiceDown" in self.firing
        return web.json_response({"status": "down" if down else "ok"}, status=503 if down else 200)


@asynccontextmanager
async def open_platform() -> AsyncIterator[Platform]:
    async with FakeCluster.serve() as cluster:
        platform = Platform(cluster)
        app = web.Application()
        app.add_routes([web.get("/api/v1/query", platform.query), web.get("/health", platform.health)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            platform.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield platform
        finally:
            await runner.cleanup()


def _payload(labels: Mapping[str, str], *, resolved: bool) -> dict[str, object]:
    """Alertmanager's webhook, version 4."""
    now = datetime.now(UTC).isoformat()
    alert = {
        "status": "resolved" if resolved else "firing",
        "labels": labels,
        "annotations": {"summary": f"{labels['alertname']} on {labels['deployment']}"},
        "startsAt": now,
        "endsAt": now if resolved else YEAR_1,
    }
    return {"version": "4", "status": alert["status"], "alerts": [alert]}
