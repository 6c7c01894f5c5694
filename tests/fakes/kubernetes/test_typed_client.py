"""The client the daemon uses takes every object of the fake: its models refuse what lacks a required field."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes_asyncio import client, config, watch

from . import FakeCluster

List = Callable[[client.ApiClient], Awaitable[Any]]


@pytest.fixture
async def cluster() -> AsyncIterator[FakeCluster]:
    async with FakeCluster.serve() as cluster:
        cluster.deploy("prod", "backend", replicas=2)
        cluster.deploy("prod", "database", kind="StatefulSet", replicas=1)
        cluster.deploy("prod", "agent", kind="DaemonSet")
        cluster.break_until_restarted("prod", "backend", pods=1)
        cluster.add_budget("prod", "backend", app="backend", min_available=1)
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "backend"}
        autoscaler = {"maxReplicas": 4, "minReplicas": 2, "scaleTargetRef": reference}
        body = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "backend"}, "spec": autoscaler}
        cluster.create("prod", body)
        cluster.create("prod", {"kind": "Lease", "metadata": {"name": "leader"}, "spec": {"holderIdentity": "a"}})
        yield cluster


@pytest.fixture
async def api(cluster: FakeCluster, tmp_path: Path) -> AsyncIterator[client.ApiClient]:
    configuration = client.Configuration()
    path = cluster.write_kubeconfig(tmp_path / "config")
    await config.load_kube_config(str(path), client_configuration=configuration)
    async with client.ApiClient(configuration) as api:
        yield api


@pytest.mark.parametrize(
    "listed",
    [
        pytest.param(lambda api: client.CoreV1Api(api).list_pod_for_all_namespaces(), id="pods"),
        pytest.param(lambda api: client.CoreV1Api(api).list_node(), id="nodes"),
        pytest.param(lambda api: client.CoreV1Api(api).list_event_for_all_namespaces(), id="events"),
        pytest.param(lambda api: client.CoreV1Api(api).list_namespace(), id="namespaces"),
        pytest.param(lambda api: client.AppsV1Api(api).list_deployment_for_all_namespaces(), id="deployments"),
        pytest.param(lambda api: client.AppsV1Api(api).list_replica_set_for_all_namespaces(), id="replica sets"),
        pytest.param(lambda api: client.AppsV1Api(api).list_stateful_set_for_all_namespaces(), id="stateful sets"),
        pytest.param(lambda api: client.AppsV1Api(api).list_daemon_set_for_all_namespaces(), id="daemon sets"),
        pytest.param(lambda api: client.PolicyV1Api(api).list_namespaced_pod_disruption_budget("prod"), id="budgets"),
        pytest.param(
            lambda api: client.AutoscalingV2Api(api).list_namespaced_horizontal_pod_autoscaler("prod"), id="autoscalers"
        ),
        pytest.param(lambda api: client.CoordinationV1Api(api).list_namespaced_lease("prod"), id="leases"),
    ],
)
async def test_the_typed_client_reads(api: client.ApiClient, listed: List) -> None:
    found = await listed(api)

    assert found.items


async def test_the_typed_client_watches_and_evicts(cluster: FakeCluster, api: client.ApiClient) -> None:
    core = client.CoreV1Api(api)
    name = cluster.pods("prod", "backend")[0]["metadata"]["name"]
    version = (await core.list_namespaced_pod("prod")).metadata.resource_version

    body = client.V1Eviction(metadata=client.V1ObjectMeta(name=name))
    await core.create_namespaced_pod_eviction(name, "prod", body)

    stream = watch.Watch().stream(core.list_namespaced_pod, "prod", resource_version=version, timeout_seconds=1)
    events = [(event["type"], event["object"].metadata.name) async for event in stream]
    assert events[0] == ("DELETED", name)
    assert {kind for kind, _ in events[1:]} == {"ADDED", "MODIFIED"}


async def test_the_typed_client_scales_only_from_what_it_saw(api: client.ApiClient) -> None:
    apps = client.AppsV1Api(api)
    kind: dict[str, Any] = {"_content_type": "application/json-patch+json"}
    patch = [
        {"op": "test", "path": "/spec/replicas", "value": 2},
        {"op": "replace", "path": "/spec/replicas", "value": 3},
    ]

    scaled = await apps.patch_namespaced_deployment_scale("backend", "prod", patch, **kind)
    with pytest.raises(client.ApiException) as refused:
        await apps.patch_namespaced_deployment_scale("backend", "prod", patch, **kind)

    assert (scaled.spec.replicas, refused.value.status) == (3, 422)
