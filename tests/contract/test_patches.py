"""The patch types, and what a patch that does not apply is told."""

from tests.contract.objects import config_map, deployment
from tests.contract.server import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, ApiServer


async def test_a_merge_patch_sets_and_removes_keys(server: ApiServer) -> None:
    await server.post(server.path("configmaps"), config_map("settings", colour="red", size="big"))

    body = {"data": {"colour": "blue", "size": None, "shape": "round"}}
    answer = await server.patch(server.path("configmaps", "settings"), body, kind=MERGE_PATCH)

    assert (answer.status, answer.body["data"]) == (200, {"colour": "blue", "shape": "round"})


async def test_a_merge_patch_replaces_whole_lists(server: ApiServer) -> None:
    await server.post(server.path("deployments"), deployment("web"))
    containers = [{"name": "app", "image": "registry.example/app:2"}]

    body = {"spec": {"template": {"spec": {"containers": containers}}}}
    answer = await server.patch(server.path("deployments", "web"), body, kind=MERGE_PATCH)

    assert [c["name"] for c in answer.body["spec"]["template"]["spec"]["containers"]] == ["app"]


async def test_a_strategic_patch_meets_containers_by_name(server: ApiServer) -> None:
    await server.post(server.path("deployments"), deployment("web"))
    containers = [{"name": "sidecar", "image": "registry.example/app:2"}]

    body = {"spec": {"template": {"spec": {"containers": containers}}}}
    answer = await server.patch(server.path("deployments", "web"), body, kind=STRATEGIC_PATCH)

    patched = answer.body["spec"]["template"]["spec"]["containers"]
    images = {container["name"]: container["image"] for container in patched}
    assert images == {"app": "registry.example/app:1", "sidecar": "registry.example/app:2"}


async def test_a_strategic_patch_can_take_a_container_away(server: ApiServer) -> None:
    await server.post(server.path("deployments"), deployment("web"))

    body = {"spec": {"template": {"spec": {"containers": [{"name": "sidecar", "$patch": "delete"}]}}}}
    answer = await server.patch(server.path("deployments", "web"), body, kind=STRATEGIC_PATCH)

    assert [c["name"] for c in answer.body["spec"]["template"]["spec"]["containers"]] == ["app"]


async def test_a_json_patch_whose_test_holds_is_applied(server: ApiServer) -> None:
    await server.post(server.path("configmaps"), config_map("settings", colour="red"))
    operations = [
        {"op": "test", "path": "/data/colour", "value": "red"},
        {"op": "replace", "path": "/data/colour", "value": "blue"},
        {"op": "add", "path": "/metadata/labels/example.invalid~1a", "value": "b"},
    ]

    answer = await server.patch(server.path("configmaps", "settings"), operations, kind=JSON_PATCH)

    assert (answer.status, answer.body["data"]) == (200, {"colour": "blue"})
    assert answer.body["metadata"]["labels"]["example.invalid/a"] == "b"


async def test_a_json_patch_whose_test_fails_is_invalid_and_changes_nothing(server: ApiServer) -> None:
    await server.post(server.path("configmaps"), config_map("settings", colour="red"))
    operations = [
        {"op": "replace", "path": "/data/colour", "value": "blue"},
        {"op": "test", "path": "/metadata/resourceVersion", "value": "1"},
    ]

    answer = await server.patch(server.path("configmaps", "settings"), operations, kind=JSON_PATCH)
    after = await server.get(server.path("configmaps", "settings"))

    assert (answer.status, answer.reason, answer.body["details"]) == (422, "Invalid", {})
    assert after.body["data"] == {"colour": "red"}


async def test_a_patch_that_carries_a_stale_version_is_a_conflict(server: ApiServer) -> None:
    created = (await server.post(server.path("configmaps"), config_map("settings", colour="red"))).body
    path = server.path("configmaps", "settings")
    await server.patch(path, {"data": {"colour": "green"}}, kind=MERGE_PATCH)

    version = created["metadata"]["resourceVersion"]
    body = {"metadata": {"resourceVersion": version}, "data": {"colour": "blue"}}
    answer = await server.patch(path, body, kind=MERGE_PATCH)

    assert (answer.status, answer.reason) == (409, "Conflict")


async def test_apply_creates_and_then_changes(server: ApiServer) -> None:
    path = server.path("configmaps", "settings")

    created = await server.patch(path, config_map("settings", colour="red"), kind=APPLY_PATCH, fieldManager="test")
    changed = await server.patch(path, config_map("settings", colour="blue"), kind=APPLY_PATCH, fieldManager="test")

    assert (created.status, changed.status, changed.body["data"]) == (201, 200, {"colour": "blue"})


async def test_apply_needs_a_field_manager(server: ApiServer) -> None:
    answer = await server.patch(server.path("configmaps", "settings"), config_map("settings"), kind=APPLY_PATCH)

    assert (answer.status, answer.reason) == (422, "Invalid")
    assert answer.body["details"]["causes"][0]["field"] == "fieldManager"


async def test_an_unknown_kind_of_patch_is_unsupported(server: ApiServer) -> None:
    await server.post(server.path("configmaps"), config_map("settings"))

    answer = await server.patch(server.path("configmaps", "settings"), {}, kind="application/json")

    assert (answer.status, answer.reason) == (415, "UnsupportedMediaType")


async def test_patching_what_is_not_there_is_not_found(server: ApiServer) -> None:
    answer = await server.patch(server.path("configmaps", "settings"), {"data": {}}, kind=MERGE_PATCH)

    assert (answer.status, answer.reason) == (404, "NotFound")
