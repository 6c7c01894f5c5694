"""What the test bench itself promises: the controllers act, the scheduler binds, the kubelet answers."""

from typing import Any

import pytest

from tests.cluster.api import Api, ApiFailure
from tests.cluster.control_plane import ControlPlane
from tests.cluster.eventually import eventually
from tests.cluster.kubelet import BEHAVIOUR, LOGS, FakeKubelet

pytestmark = pytest.mark.cluster


def deployment(name: str, *, replicas: int = 1, annotations: dict[str, str] | None = None) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "app", "image": "example.invalid/app:1"}
    template = {"metadata": {"labels": labels, "annotations": annotations or {}}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


async def pods_of(api: Api, namespace: str) -> list[Any]:
    listing = await api.get(f"/api/v1/namespaces/{namespace}/pods")
    return list(listing["items"])


async def is_ready(api: Api, namespace: str, name: str, *, replicas: int) -> bool:
    found = await api.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
    return bool(found["status"].get("readyReplicas", 0) == replicas)


async def test_a_deployment_becomes_ready(control_plane: ControlPlane, namespace: str) -> None:
    async with control_plane.api() as api:
        await api.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment("web", replicas=2))

        await eventually(lambda: is_ready(api, namespace, "web", replicas=2))


async def test_a_deleted_pod_is_replaced_by_another(control_plane: ControlPlane, namespace: str) -> None:
    async with control_plane.api() as api:
        await api.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment("web"))
        await eventually(lambda: is_ready(api, namespace, "web", replicas=1))
        (before,) = await pods_of(api, namespace)

        await api.delete(f"/api/v1/namespaces/{namespace}/pods/{before['metadata']['name']}")

        async def is_replaced() -> bool:
            names = [pod["metadata"]["uid"] for pod in await pods_of(api, namespace)]
            return len(names) == 1 and before["metadata"]["uid"] not in names

        await eventually(is_replaced)
        await eventually(lambda: is_ready(api, namespace, "web", replicas=1))


@pytest.mark.parametrize(
    ("behaviour", "waiting", "last"),
    [
        pytest.param("crash", "CrashLoopBackOff", "Error", id="crash"),
        pytest.param("oom", "CrashLoopBackOff", "OOMKilled", id="out-of-memory"),
        pytest.param("no-image", "ImagePullBackOff", None, id="no-image"),
    ],
)
async def test_an_annotation_makes_pods_fail(
    control_plane: ControlPlane, namespace: str, behaviour: str, waiting: str, last: str | None
) -> None:
    async with control_plane.api() as api:
        body = deployment("web", annotations={BEHAVIOUR: behaviour})
        await api.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", body)

        async def has_status() -> bool:
            return any(pod["status"].get("containerStatuses") for pod in await pods_of(api, namespace))

        await eventually(has_status)
        (pod,) = await pods_of(api, namespace)
        (container,) = pod["status"]["containerStatuses"]
        assert container["state"]["waiting"]["reason"] == waiting
        assert container.get("lastState", {}).get("terminated", {}).get("reason") == last


async def test_logs_come_through_the_api_server(control_plane: ControlPlane, namespace: str) -> None:
    async with control_plane.api() as api:
        body = deployment("web", annotations={LOGS: "one\ntwo\nthree"})
        await api.create(f"/apis/apps/v1/namespaces/{namespace}/deployments", body)
        await eventually(lambda: is_ready(api, namespace, "web", replicas=1))
        (pod,) = await pods_of(api, namespace)

        logs = await api.text(f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}/log", tailLines="2")

        assert logs == "two\nthree\n"


async def test_a_user_without_a_role_may_not_read(control_plane: ControlPlane, kubelet: FakeKubelet) -> None:
    namespace = await control_plane.namespace()
    async with control_plane.api() as admin:
        await admin.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "nobody"}})
    token = await control_plane.service_account_token(namespace, "nobody")

    async with control_plane.api(token) as api:
        with pytest.raises(ApiFailure) as refused:
            await pods_of(api, namespace)

    assert refused.value.status == 403
