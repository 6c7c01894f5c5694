"""The whole street on real parts: Prometheus measures, Alertmanager tells, the API server decides, and it is proven."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.cluster.api import Api
from tests.cluster.control_plane import ControlPlane
from tests.cluster.eventually import eventually
from tests.cluster.kubelet import BEHAVIOUR
from tests.cluster.test_control_plane import deployment, is_ready, pods_of
from tests.fakes.serving import serving
from tests.monitoring.processes import alertmanager, prometheus
from tests.system.daemon import TOKEN, Client, running, settings_for
from tests.system.rules import SERVICE_DOWN, write_rules

pytestmark = [pytest.mark.cluster, pytest.mark.monitoring]

_ALERTING = """
groups:
  - name: service
    rules:
      - alert: ServiceDown
        expr: service_ready < 3
        labels: {{ namespace: {namespace}, deployment: backend }}
"""


@asynccontextmanager
async def exporter(api: Api, namespace: str) -> AsyncIterator[str]:
    """What kube-state-metrics would say of our one deployment. Gives `host:port`."""

    async def metrics(request: web.Request) -> web.Response:
        found = await api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/backend")
        return web.Response(text=f"service_ready {found['status'].get('readyReplicas', 0)}\n")

    app = web.Application()
    app.add_routes([web.get("/metrics", metrics)])
    async with serving(app) as url:
        yield url.removeprefix("http://")


async def test_a_crashing_pod_is_replaced_and_the_alert_resolves(
    tmp_path: Path, database_address: str, control_plane: ControlPlane, namespace: str
) -> None:
    rule = SERVICE_DOWN.replace("within: 2s", "within: 1m") + "    - use: alert_resolved\n"
    rules = write_rules(tmp_path / "rules", **{"service-down": rule})
    settings = settings_for(tmp_path, rules, database_url=database_address, kubeconfig=control_plane.kubeconfig())
    async with (
        control_plane.api() as api,
        exporter(api, namespace) as target,
        running(settings) as (_, client),
        alertmanager(tmp_path, webhook=f"{client.url}/webhooks/alertmanager", token=TOKEN) as told,
    ):
        await api.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment("backend", replicas=3))
        await eventually(lambda: is_ready(api, namespace, "backend", replicas=3))
        broken = await break_one_pod(api, namespace)
        alerting = _ALERTING.format(namespace=namespace)
        async with prometheus(tmp_path, rules=alerting, target=target, alertmanager=told):
            await eventually(lambda: is_resolved(client), within=90)

        incident = await client.incident(1)
        left = await pods_of(api, namespace)

    assert incident["resolution"] == f"fixed: delete pod {broken['metadata']['name']} of {incident['target']}"
    assert broken["metadata"]["uid"] not in {pod["metadata"]["uid"] for pod in left}


async def break_one_pod(api: Api, namespace: str) -> Any:
    pod = (await pods_of(api, namespace))[0]
    path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}"
    await api.merge(path, {"metadata": {"annotations": {BEHAVIOUR: "crash"}}})
    await eventually(lambda: is_ready(api, namespace, "backend", replicas=2))
    return pod


async def is_resolved(client: Client) -> bool:
    return [incident["status"] for incident in await client.incidents()] == ["resolved"]
