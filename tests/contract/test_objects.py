"""Create, read, replace, delete: versions, generations, and each way to be refused."""

import pytest

from tests.contract.objects import config_map, deployment
from tests.contract.server import ApiServer


async def test_a_created_object_has_an_identity_and_a_version(server: ApiServer) -> None:
    answer = await server.post(server.path("configmaps"), config_map("settings", colour="red"))

    metadata = answer.body["metadata"]
    assert answer.status == 201
    assert metadata["namespace"] == server.namespace
    assert all(metadata[key] for key in ("uid", "resourceVersion", "creationTimestamp"))


async def test_a_name_can_be_generated(server: ApiServer) -> None:
    body = config_map("")
    body["metadata"] = {"generateName": "settings-"}

    answer = await server.post(server.path("configmaps"), body)

    assert answer.status == 201
    assert len(answer.body["metadata"]["name"]) == len("settings-") + 5


async def test_creating_what_exists_is_a_409_of_its_own_reason(server: ApiServer) -> None:
    await server.post(server.path("configmaps"), config_map("settings"))

    answer = await server.post(server.path("configmaps"), config_map("settings"))

    assert (answer.status, answer.reason) == (409, "AlreadyExists")
    assert answer.body["message"] == 'configmaps "settings" already exists'


async def test_what_is_not_there_is_not_found_by_its_qualified_name(server: ApiServer) -> None:
    answer = await server.get(server.path("deployments", "web"))

    assert (answer.status, answer.reason) == (404, "NotFound")
    assert answer.body["message"] == 'deployments.apps "web" not found'
    assert answer.body["details"] == {"name": "web", "group": "apps", "kind": "deployments"}


async def test_creating_in_a_missing_namespace_names_the_namespace(server: ApiServer) -> None:
    answer = await server.post("/api/v1/namespaces/nowhere/configmaps", config_map("settings"))

    assert (answer.status, answer.reason) == (404, "NotFound")
    assert answer.body["details"] == {"name": "nowhere", "kind": "namespaces"}


async def test_an_unknown_api_is_plain_text(server: ApiServer) -> None:
    answer = await server.get("/apis/example.invalid/v1/things")

    assert (answer.status, answer.body) == (404, "404 page not found\n")


async def test_replacing_a_stale_version_is_a_conflict(server: ApiServer) -> None:
    created = (await server.post(server.path("configmaps"), config_map("settings", colour="red"))).body
    await server.put(server.path("configmaps", "settings"), {**created, "data": {"colour": "green"}})

    answer = await server.put(server.path("configmaps", "settings"), {**created, "data": {"colour": "blue"}})

    assert (answer.status, answer.reason) == (409, "Conflict")
    assert answer.body["message"] == (
        'Operation cannot be fulfilled on configmaps "settings": the object has been modified; please apply your '
        "changes to the latest version and try again"
    )


async def test_replacing_without_a_version_is_allowed_for_most(server: ApiServer) -> None:
    await server.post(server.path("configmaps"), config_map("settings", colour="red"))

    answer = await server.put(server.path("configmaps", "settings"), config_map("settings", colour="blue"))

    assert (answer.status, answer.body["data"]) == (200, {"colour": "blue"})


async def test_replacing_a_lease_needs_its_version(server: ApiServer) -> None:
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "leader"}, "spec": {}}
    await server.post(server.path("leases"), lease)

    answer = await server.put(server.path("leases", "leader"), {**lease, "spec": {"holderIdentity": "a"}})

    assert (answer.status, answer.reason) == (422, "Invalid")
    assert answer.body["details"]["causes"][0]["field"] == "metadata.resourceVersion"


async def test_a_write_that_changes_nothing_keeps_the_version(server: ApiServer) -> None:
    created = (await server.post(server.path("configmaps"), config_map("settings", colour="red"))).body

    answer = await server.put(server.path("configmaps", "settings"), created)

    assert answer.body["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_only_a_change_of_the_spec_is_a_new_generation(server: ApiServer) -> None:
    created = (await server.post(server.path("deployments"), deployment("web"))).body
    path, kind = server.path("deployments", "web"), "application/merge-patch+json"

    labelled = await server.patch(path, {"metadata": {"labels": {"a": "b"}}}, kind=kind)
    scaled = await server.patch(path, {"spec": {"minReadySeconds": 1}}, kind=kind)

    generations = [body["metadata"]["generation"] for body in (created, labelled.body, scaled.body)]
    assert generations == [1, 1, 2]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param({"replicas": -1}, "spec.replicas", id="fewer than no replicas"),
        pytest.param({"selector": {"matchLabels": {"app": "web", "a": "b"}}}, "spec.selector", id="another selector"),
    ],
)
async def test_an_invalid_change_names_its_field(server: ApiServer, change: dict[str, object], field: str) -> None:
    await server.post(server.path("deployments"), deployment("web"))
    template = {"metadata": {"labels": {"app": "web", "a": "b"}}}

    answer = await server.patch(
        server.path("deployments", "web"),
        {"spec": {"template": template, **change}},
        kind="application/merge-patch+json",
    )

    assert (answer.status, answer.reason) == (422, "Invalid")
    assert field in [cause["field"] for cause in answer.body["details"]["causes"]]


async def test_deleting_a_deployment_answers_with_a_status(server: ApiServer) -> None:
    created = (await server.post(server.path("deployments"), deployment("web"))).body

    answer = await server.delete(server.path("deployments", "web"))

    assert answer.status == 200
    assert (answer.body["kind"], answer.body["status"]) == ("Status", "Success")
    assert answer.body["details"]["uid"] == created["metadata"]["uid"]


@pytest.mark.parametrize("field", ["uid", "resourceVersion"])
async def test_a_delete_meant_for_another_object_is_a_conflict(server: ApiServer, field: str) -> None:
    created = (await server.post(server.path("configmaps"), config_map("settings"))).body
    another = "7" if field == "resourceVersion" else "5f0c2f0e-0000-4000-8000-000000000000"

    refused = await server.delete(server.path("configmaps", "settings"), {"preconditions": {field: another}})
    meant = {"preconditions": {field: created["metadata"][field]}}
    accepted = await server.delete(server.path("configmaps", "settings"), meant)

    assert (refused.status, refused.reason) == (409, "Conflict")
    assert another in refused.body["message"]
    assert created["metadata"][field] in refused.body["message"]
    assert accepted.status == 200


async def test_a_selector_on_a_collection_deletes_what_it_matches(server: ApiServer) -> None:
    await server.post(server.path("configmaps"), config_map("settings", labels={"a": "b"}))

    answer = await server.delete(server.path("configmaps"), labelSelector="a=b")
    left = await server.get(server.path("configmaps"), labelSelector="a=b")

    assert (answer.status, left.body["items"]) == (200, [])
