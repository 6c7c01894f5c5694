"""Deployments and what their controllers make of them; the scale subresource."""

from tests.cluster.eventually import eventually
from tests.contract.objects import deployment
from tests.contract.server import JSON_PATCH, MERGE_PATCH, ApiServer

REVISION = "deployment.kubernetes.io/revision"


async def _rolled_out(server: ApiServer, name: str, *, replicas: int) -> None:
    async def is_done() -> bool:
        body = (await server.get(server.path("deployments", name))).body
        status = body.get("status", {})
        is_seen = status.get("observedGeneration") == body["metadata"]["generation"]
        counts = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")}
        return is_seen and counts == {replicas}

    await eventually(is_done)


async def test_a_deployment_becomes_available_through_a_replica_set(server: ApiServer) -> None:
    created = (await server.post(server.path("deployments"), deployment("web", replicas=2))).body

    await _rolled_out(server, "web", replicas=2)

    (replica_set,) = (await server.get(server.path("replicasets"))).body["items"]
    owners = replica_set["metadata"]["ownerReferences"]
    pods = (await server.get(server.path("pods"), labelSelector="app=web")).body["items"]
    assert replica_set["metadata"]["annotations"][REVISION] == "1"
    assert [owner["uid"] for owner in owners] == [created["metadata"]["uid"]]
    assert {pod["metadata"]["ownerReferences"][0]["uid"] for pod in pods} == {replica_set["metadata"]["uid"]}


async def test_a_new_image_is_a_new_revision_and_the_old_one_is_kept_empty(server: ApiServer) -> None:
    await server.post(server.path("deployments"), deployment("web", replicas=2))
    await _rolled_out(server, "web", replicas=2)

    image = {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "registry.example/app:2"}
    await server.patch(server.path("deployments", "web"), [image], kind=JSON_PATCH)
    await _rolled_out(server, "web", replicas=2)

    sets = (await server.get(server.path("replicasets"))).body["items"]
    replicas = {s["metadata"]["annotations"][REVISION]: s["spec"]["replicas"] for s in sets}
    assert replicas == {"1": 0, "2": 2}


async def test_going_back_reuses_the_old_replica_set_as_the_newest_revision(server: ApiServer) -> None:
    path = server.path("deployments", "web")
    await server.post(server.path("deployments"), deployment("web", replicas=1))
    await _rolled_out(server, "web", replicas=1)

    for tag in ("2", "1"):
        image = {
            "op": "replace",
            "path": "/spec/template/spec/containers/0/image",
            "value": f"registry.example/app:{tag}",
        }
        await server.patch(path, [image], kind=JSON_PATCH)
        await _rolled_out(server, "web", replicas=1)

    sets = (await server.get(server.path("replicasets"))).body["items"]
    replicas = {s["metadata"]["annotations"][REVISION]: s["spec"]["replicas"] for s in sets}
    assert replicas == {"2": 0, "3": 1}


async def test_a_deleted_pod_is_replaced_by_another(server: ApiServer) -> None:
    await server.post(server.path("deployments"), deployment("web", replicas=1))
    await _rolled_out(server, "web", replicas=1)
    (name,) = (await server.get(server.path("pods"))).names

    answer = await server.delete(server.path("pods", name), {"gracePeriodSeconds": 0})

    async def is_replaced() -> bool:
        names = (await server.get(server.path("pods"))).names
        return len(names) == 1 and names != [name]

    await eventually(is_replaced)
    assert (answer.status, answer.body["kind"]) == (200, "Pod")


async def test_the_scale_shows_replicas_and_the_selector(server: ApiServer) -> None:
    created = (await server.post(server.path("deployments"), deployment("web", replicas=2))).body

    answer = await server.get(server.path("deployments", "web", "scale"))

    assert (answer.body["kind"], answer.body["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert answer.body["metadata"]["uid"] == created["metadata"]["uid"]
    assert answer.body["spec"] == {"replicas": 2}
    assert answer.body["status"]["selector"] == "app=web"


async def test_the_scale_of_none_says_nothing_in_its_spec(server: ApiServer) -> None:
    await server.post(server.path("deployments"), deployment("web", replicas=0))

    answer = await server.get(server.path("deployments", "web", "scale"))

    assert answer.body["spec"] == {}


async def test_scaling_by_patch_changes_the_deployment(server: ApiServer) -> None:
    await server.post(server.path("deployments"), deployment("web", replicas=1))

    answer = await server.patch(server.path("deployments", "web", "scale"), {"spec": {"replicas": 2}}, kind=MERGE_PATCH)

    assert (answer.status, answer.body["spec"]) == (200, {"replicas": 2})
    await _rolled_out(server, "web", replicas=2)


async def test_scaling_from_a_stale_version_is_a_conflict(server: ApiServer) -> None:
    await server.post(server.path("deployments"), deployment("web"))
    scale = (await server.get(server.path("deployments", "web", "scale"))).body
    await server.patch(server.path("deployments", "web"), {"metadata": {"labels": {"a": "b"}}}, kind=MERGE_PATCH)

    answer = await server.put(server.path("deployments", "web", "scale"), {**scale, "spec": {"replicas": 1}})

    assert (answer.status, answer.reason) == (409, "Conflict")


async def test_scaling_below_nothing_is_invalid(server: ApiServer) -> None:
    await server.post(server.path("deployments"), deployment("web"))

    answer = await server.patch(
        server.path("deployments", "web", "scale"), {"spec": {"replicas": -1}}, kind=MERGE_PATCH
    )

    assert (answer.status, answer.reason) == (422, "Invalid")
    assert answer.body["details"]["causes"][0]["field"] == "spec.replicas"


async def test_deployments_whose_labels_overlap_keep_to_their_own_pods(server: ApiServer) -> None:
    """So a selector alone does not say whose a pod is."""
    canary = deployment("canary", replicas=1)
    labels = {"app": "web", "track": "canary"}
    canary["spec"] |= {"selector": {"matchLabels": labels}}
    canary["spec"]["template"]["metadata"] = {"labels": labels}
    await server.post(server.path("deployments"), deployment("web", replicas=2))
    await server.post(server.path("deployments"), canary)
    await _rolled_out(server, "web", replicas=2)
    await _rolled_out(server, "canary", replicas=1)

    sets = (await server.get(server.path("replicasets"), labelSelector="app=web")).body["items"]
    pods = (await server.get(server.path("pods"), labelSelector="app=web")).body["items"]

    owner_of = {each["metadata"]["uid"]: each["metadata"]["ownerReferences"][0]["name"] for each in sets}
    owners = [owner_of[each["metadata"]["ownerReferences"][0]["uid"]] for each in pods]
    assert sorted(owners) == ["canary", "web", "web"]
