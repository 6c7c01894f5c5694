"""The chart on the real API server: every object is accepted, and the roles allow what they say and nothing else."""

from typing import Any

import pytest

from tests.cluster.api import Api
from tests.cluster.control_plane import ControlPlane
from tests.cluster.eventually import eventually
from tests.helm.chart import Rendered, render

pytestmark = pytest.mark.cluster

PLACES = {
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
}


async def install(api: Api, rendered: Rendered) -> None:
    for each in rendered.objects:
        meta = each["metadata"]
        await api.apply(f"{PLACES[each['kind']].format(meta['namespace'])}/{meta['name']}", each)


async def may(api: Api, namespace: str, verb: str, resource: str, group: str = "") -> bool:
    resource, _, subresource = resource.partition("/")
    attributes = {
        "namespace": namespace,
        "verb": verb,
        "group": group,
        "resource": resource,
        "subresource": subresource,
    }
    review: dict[str, Any] = {"spec": {"resourceAttributes": attributes}}
    answer = await api.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    return bool(answer["status"]["allowed"])


@pytest.mark.parametrize("mode", ["observe", "act"])
async def test_an_installed_release_may_do_what_its_mode_needs(control_plane: ControlPlane, mode: str) -> None:
    namespace = await control_plane.namespace()
    async with control_plane.api() as admin:
        await install(admin, render({"settings": {"mode": mode}}, namespace=namespace))
    token = await control_plane.service_account_token(namespace, "remediator")

    async with control_plane.api(token) as api:
        reads = [await may(api, namespace, "list", "pods"), await may(api, namespace, "get", "pods/log")]
        writes = [
            await may(api, namespace, "create", "pods/eviction"),
            await may(api, namespace, "patch", "deployments/scale", "apps"),
        ]
        never = [
            await may(api, namespace, "list", "secrets"),
            await may(api, namespace, "create", "pods/exec"),
            await may(api, "default", "list", "pods"),
        ]

    assert reads == [True, True]
    assert writes == [mode == "act"] * 2
    assert never == [False, False, False]


@pytest.mark.parametrize("release", ["1.b", "123", "true"])
async def test_a_release_for_production_is_taken_whatever_it_is_called(
    control_plane: ControlPlane, namespace: str, release: str
) -> None:
    values = {
        "replicas": 3,
        "database": {"url": {"secret": "postgres"}},
        "networkPolicy": {"create": True, "from": [{"podSelector": {}}], "egress": [{"ports": [{"port": 443}]}]},
        "rbac": {"extraRules": [{"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list"]}]},
        "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/etc/ssl/ours/ca.pem"}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "our-ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ssl/ours", "readOnly": True}],
    }
    async with control_plane.api() as api:
        await install(api, render(values, namespace=namespace, release=release))

        await eventually(lambda: has_pod(api, namespace))


async def test_the_deployment_makes_its_pod(control_plane: ControlPlane, namespace: str) -> None:
    """The pod is bound and not refused by any admission; the namespace enforces the restricted standard."""
    async with control_plane.api() as api:
        label = {"pod-security.kubernetes.io/enforce": "restricted"}
        await api.merge(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": label}})

        await install(api, render(namespace=namespace))

        await eventually(lambda: has_pod(api, namespace))


async def has_pod(api: Api, namespace: str) -> bool:
    return bool((await api.get(f"/api/v1/namespaces/{namespace}/pods"))["items"])
