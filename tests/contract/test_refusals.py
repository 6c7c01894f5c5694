"""The words of refusals that a person or the daemon may come to read."""

from collections.abc import Awaitable, Callable

import pytest

from tests.contract.objects import config_map, deployment, pod
from tests.contract.server import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, Answer, ApiServer

Attempt = Callable[[ApiServer], Awaitable[Answer]]
ANOTHER = {"preconditions": {"uid": "another"}}


def _patch(*path: str, body: object, kind: str = MERGE_PATCH, **query: str) -> Attempt:
    return lambda server: server.patch(server.path(*path), body, kind=kind, **query)


def _put(*path: str, body: object) -> Attempt:
    return lambda server: server.put(server.path(*path), body)


def _get(*path: str, **query: str) -> Attempt:
    return lambda server: server.get(server.path(*path), **query)


def _post(*path: str, body: object, **query: str) -> Attempt:
    return lambda server: server.post(server.path(*path), body, **query)


def _delete(*path: str, body: object) -> Attempt:
    return lambda server: server.delete(server.path(*path), body)


@pytest.mark.parametrize(
    ("attempt", "status", "words"),
    [
        pytest.param(
            _patch("deployments", "web", body={"spec": {"replicas": -1}}),
            422,
            'Deployment.apps "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
            id="fewer than no replicas",
        ),
        pytest.param(
            _patch("deployments", "web", "scale", body={"spec": {"replicas": -1}}),
            422,
            'Scale.autoscaling "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0',
            id="scaled below nothing",
        ),
        pytest.param(
            _patch("pods", "a", body={"spec": {"nodeName": "elsewhere"}}),
            422,
            'Pod "a" is invalid: spec: Forbidden: pod updates may not change fields other than',
            id="a pod moved",
        ),
        pytest.param(
            _delete("pods", "a", body=ANOTHER),
            409,
            'Operation cannot be fulfilled on Pod "a": the UID in the precondition (another) does not match the UID',
            id="another pod deleted",
        ),
        pytest.param(
            _delete("deployments", "web", body=ANOTHER),
            409,
            'Operation cannot be fulfilled on Deployment.apps "web": the UID in the precondition (another)',
            id="another deployment deleted",
        ),
        pytest.param(
            _patch("configmaps", "settings", body={"metadata": {"uid": "another"}}),
            422,
            'ConfigMap "settings" is invalid: metadata.uid: Invalid value: "another": field is immutable',
            id="another object patched",
        ),
        pytest.param(
            _put("configmaps", "settings", body={"metadata": {"name": "settings", "uid": "another"}}),
            409,
            'Operation cannot be fulfilled on configmaps "settings": StorageError: invalid object, Code: 4, Key: ',
            id="another object replaced",
        ),
        pytest.param(
            _patch("configmaps", "settings", body=[{"op": "remove", "path": "/data/none"}], kind=JSON_PATCH),
            422,
            "the server rejected our request due to an error in our request",
            id="a path that is not there",
        ),
        pytest.param(
            _patch("configmaps", "settings", body={}, kind="application/json"),
            415,
            "415: Unsupported Media Type",
            id="an unknown patch type",
        ),
        pytest.param(
            _patch("configmaps", "settings", body=config_map("settings"), kind=APPLY_PATCH),
            422,
            'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
            id="apply by nobody",
        ),
        pytest.param(
            _post("configmaps", body=config_map("other"), dryRun="True"),
            422,
            'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["True"]: supported values: "All"',
            id="a dry run misspelled",
        ),
        pytest.param(
            _get("deployments", fieldSelector="spec.x=1"),
            400,
            '"spec.x" is not a known field selector: only "metadata.name", "metadata.namespace"',
            id="a field of a kind without any",
        ),
        pytest.param(
            _get("configmaps", limit="1", **{"continue": "nonsense"}),
            400,
            "invalid continue token: continue key is not valid: ",
            id="a broken token",
        ),
        pytest.param(
            _get("configmaps", "settings", "scale"),
            404,
            "the server could not find the requested resource",
            id="no such subresource",
        ),
        pytest.param(
            _post("configmaps", "settings", body={}),
            405,
            "the server does not allow this method on the requested resource",
            id="a post to an object",
        ),
        pytest.param(_get("pods", "none", "log"), 404, 'pods "none" not found', id="the log of no pod"),
    ],
)
async def test_a_refusal_says(server: ApiServer, attempt: Attempt, status: int, words: str) -> None:
    await server.post(server.path("deployments"), deployment("web"))
    await server.post(server.path("configmaps"), config_map("settings", colour="red"))
    await server.post(server.path("pods"), pod("a"))

    answer = await attempt(server)

    assert answer.status == status
    assert answer.body["message"].startswith(words)
