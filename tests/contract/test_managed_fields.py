"""Who set the replicas: what tells our own scaling from a person's to the same number."""

from typing import Any

import pytest

from tests.contract.objects import deployment
from tests.contract.server import JSON_PATCH, MERGE_PATCH, ApiServer


async def scale(server: ApiServer, replicas: int, *, by: str) -> None:
    operations = [{"op": "replace", "path": "/spec/replicas", "value": replicas}]
    path = server.path("deployments", "web", "scale")
    assert (await server.patch(path, operations, kind=JSON_PATCH, fieldManager=by)).status == 200


async def owners_of_replicas(server: ApiServer) -> list[tuple[str, str]]:
    metadata: dict[str, Any] = (await server.get(server.path("deployments", "web"))).body["metadata"]
    return [
        (entry["manager"], entry.get("subresource", ""))
        for entry in metadata.get("managedFields", [])
        if "f:replicas" in entry["fieldsV1"].get("f:spec", {})
    ]


@pytest.fixture
async def scaled(server: ApiServer) -> ApiServer:
    """By `us`, from what it is made with to 4."""
    await server.post(server.path("deployments"), deployment("web", replicas=1), fieldManager="them")
    await scale(server, 4, by="us")
    return server


async def test_whoever_scales_owns_the_replicas(scaled: ApiServer) -> None:
    assert await owners_of_replicas(scaled) == [("us", "scale")]


async def test_whoever_scales_to_the_same_number_changes_nothing(scaled: ApiServer) -> None:
    await scale(scaled, 4, by="them")

    assert await owners_of_replicas(scaled) == [("us", "scale")]


async def test_another_number_has_another_owner_though_the_first_comes_back(scaled: ApiServer) -> None:
    await scale(scaled, 5, by="them")
    await scale(scaled, 4, by="them")

    assert await owners_of_replicas(scaled) == [("them", "scale")]


async def test_what_else_is_changed_leaves_the_owner_of_the_replicas(scaled: ApiServer) -> None:
    path = scaled.path("deployments", "web")
    await scaled.patch(path, {"metadata": {"labels": {"a": "b"}}}, kind=MERGE_PATCH, fieldManager="them")

    assert await owners_of_replicas(scaled) == [("us", "scale")]


async def test_replicas_can_be_set_on_the_workload_itself(scaled: ApiServer) -> None:
    path = scaled.path("deployments", "web")
    await scaled.patch(path, {"spec": {"replicas": 2}}, kind=MERGE_PATCH, fieldManager="them")

    assert await owners_of_replicas(scaled) == [("them", "")]
