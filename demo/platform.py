"""A small production: a simulated Kubernetes API, a Prometheus that measures it, and an Alertmanager that tells on it.

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
    prometheus_url: str = ""
    firing: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Alert name -> labels."""
    started: dict[str, str] = field(default_factory=dict)

    def fire(self, alertname: str, deployment: str) -> Mapping[str, str]:
        labels = {"alertname": alertname, "namespace": NAMESPACE, "deployment": deployment, "pod": ""}
        self.firing[alertname] = {name: value for name, value in labels.items() if value}
        self.started[alertname] = datetime.now(UTC).isoformat()
        return self.firing[alertname]

    def is_healthy(self, deployment: str) -> bool:
        found = self.cluster.deployment(NAMESPACE, deployment)
        wanted = found["spec"]["replicas"]
        return bool(found["status"].get("readyReplicas", 0) == wanted)

    async def report(self, webhook: str, token: str) -> None:
        """Sends what fires, and what has stopped firing, until cancelled."""
        headers = {"Authorization": f"Bearer {token}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            while True:
                for name, labels in list(self.firing.items()):
                    resolved = self.is_healthy(labels["deployment"])
                    body = _payload(labels, self.started[name], resolved=resolved)
                    async with session.post(webhook, json=body) as response:
                        response.raise_for_status()
                    if resolved:
                        del self.firing[name]
                await asyncio.sleep(0.5)

    async def query(self, request: web.Request) -> web.Response:
        """Any PromQL: a low value while every workload is healthy, a high one while something burns."""
        value = "0.42" if self.firing else "0.001"
        now = datetime.now(UTC).timestamp()
        result = [{"metric": {}, "value": [now, value]}]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})


@asynccontextmanager
async def open_platform() -> AsyncIterator[Platform]:
    async with FakeCluster.serve() as cluster:
        platform = Platform(cluster)
        app = web.Application()
        app.router.add_route("*", "/api/v1/query", platform.query)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        platform.prometheus_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield platform
        finally:
            await runner.cleanup()


def _payload(labels: Mapping[str, str], since: str, *, resolved: bool) -> dict[str, object]:
    """Alertmanager's webhook, version 4."""
    state = "resolved" if resolved else "firing"
    alert = {
        "status": state,
        "labels": labels,
        "annotations": {"summary": f"{labels['alertname']} on {labels['deployment']}"},
        "startsAt": since,
        "endsAt": datetime.now(UTC).isoformat() if resolved else YEAR_1,
        "generatorURL": "",
        "fingerprint": f"{abs(hash(labels['alertname'])):016x}"[:16],
    }
    return {
        "version": "4",
        "groupKey": "{}",
        "status": state,
        "receiver": "remediator",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "",
        "truncatedAlerts": 0,
        "alerts": [alert],
    }
