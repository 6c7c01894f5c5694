"""What a server says of itself and of what one may do."""

from tests.contract.server import ApiServer

REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def test_a_permission_can_be_asked_for_without_using_it(server: ApiServer) -> None:
    attributes = {"verb": "create", "resource": "pods", "subresource": "eviction", "namespace": server.namespace}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}

    answer = await server.post(REVIEWS, {**review, "spec": {"resourceAttributes": attributes}})

    assert (answer.status, answer.body["status"]["allowed"]) == (201, True)


async def test_the_version_is_a_semantic_one(server: ApiServer) -> None:
    answer = await server.get("/version")

    assert (answer.body["major"], answer.body["gitVersion"].split(".")[0]) == ("1", "v1")


async def test_the_server_says_that_it_is_ready(server: ApiServer) -> None:
    answer = await server.get("/readyz")

    assert (answer.status, answer.body) == (200, "ok")


async def test_nodes_and_namespaces_are_in_no_namespace(server: ApiServer) -> None:
    nodes = await server.get("/api/v1/nodes")
    namespace = await server.get(f"/api/v1/namespaces/{server.namespace}")

    assert "namespace" not in nodes.body["items"][0]["metadata"]
    assert namespace.body["status"] == {"phase": "Active"}
