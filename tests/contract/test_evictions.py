"""Evictions against disruption budgets, each refusal as it is spelled."""

import pytest

from tests.cluster.eventually import eventually
from tests.contract.objects import budget, eviction, pod
from tests.contract.server import Answer, ApiServer


async def _run_pods(server: ApiServer, *names: str) -> None:
    for name in names:
        await server.post(server.path("pods"), pod(name))

    async def are_ready() -> bool:
        pods = (await server.get(server.path("pods"))).body["items"]
        conditions = [condition for p in pods for condition in p["status"].get("conditions", ())]
        return sum((c["type"], c["status"]) == ("Ready", "True") for c in conditions) == len(names)

    await eventually(are_ready)


async def _guard(server: ApiServer, name: str, *, min_available: int) -> None:
    await server.post(server.path("poddisruptionbudgets"), budget(name, min_available=min_available))

    async def is_counted() -> bool:
        body = (await server.get(server.path("poddisruptionbudgets", name))).body
        return bool(body.get("status", {}).get("currentHealthy"))

    await eventually(is_counted)


async def _evict(server: ApiServer, name: str, **query: str) -> Answer:
    return await server.post(server.path("pods", name, "eviction"), eviction(name), **query)


async def _has_pod(server: ApiServer, name: str) -> bool:
    answer = await server.get(server.path("pods", name))
    return answer.status == 200 and "deletionTimestamp" not in answer.body["metadata"]


async def test_an_eviction_is_a_success_and_the_pod_goes(server: ApiServer) -> None:
    await _run_pods(server, "a")

    answer = await _evict(server, "a")

    assert (answer.status, answer.body["kind"], answer.body["status"]) == (201, "Status", "Success")
    assert not await _has_pod(server, "a")


async def test_an_eviction_in_a_dry_run_leaves_the_pod(server: ApiServer) -> None:
    await _run_pods(server, "a")

    answer = await _evict(server, "a", dryRun="All")

    assert answer.status == 201
    assert await _has_pod(server, "a")


@pytest.mark.parametrize("place", ["query", "body", "both"])
async def test_an_eviction_with_options_is_a_dry_run_wherever_it_says_so(server: ApiServer, place: str) -> None:
    """Unlike a deletion, of which a body hides the query."""
    await _run_pods(server, "a")
    found = await server.get(server.path("pods", "a"))
    options: dict[str, object] = {"preconditions": {"uid": found.body["metadata"]["uid"]}}
    body = {**eviction("a"), "deleteOptions": options | ({} if place == "query" else {"dryRun": ["All"]})}
    query = {} if place == "body" else {"dryRun": "All"}

    answer = await server.post(server.path("pods", "a", "eviction"), body, **query)

    assert answer.status == 201
    assert await _has_pod(server, "a")


async def test_a_budget_with_nothing_to_spare_refuses(server: ApiServer) -> None:
    await _run_pods(server, "a", "b")
    await _guard(server, "w", min_available=2)

    answer = await _evict(server, "a")

    (cause,) = answer.body["details"]["causes"]
    assert (answer.status, answer.reason, answer.retry_after) == (429, "TooManyRequests", None)
    assert answer.body["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    assert cause == {
        "reason": "DisruptionBudget",
        "message": "The disruption budget w needs 2 healthy pods and has 2 currently",
    }
    assert await _has_pod(server, "a")


async def test_a_budget_spares_what_it_can_and_then_refuses(server: ApiServer) -> None:
    await _run_pods(server, "a", "b")
    await _guard(server, "w", min_available=1)

    first, second = await _evict(server, "a"), await _evict(server, "b")

    assert (first.status, second.status) == (201, 429)


async def test_two_budgets_over_one_pod_are_a_500_without_a_reason(server: ApiServer) -> None:
    await _run_pods(server, "a")
    await _guard(server, "v", min_available=0)
    await _guard(server, "w", min_available=0)

    answer = await _evict(server, "a")

    assert (answer.status, answer.reason, answer.retry_after) == (500, None, None)
    assert answer.body["message"] == (
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    )


async def test_evicting_what_is_not_there_is_not_found(server: ApiServer) -> None:
    answer = await _evict(server, "a")

    assert (answer.status, answer.reason) == (404, "NotFound")


async def test_an_eviction_meant_for_another_pod_is_a_conflict(server: ApiServer) -> None:
    await _run_pods(server, "a")
    options = {"preconditions": {"uid": "5f0c2f0e-0000-4000-8000-000000000000"}}

    answer = await server.post(server.path("pods", "a", "eviction"), {**eviction("a"), "deleteOptions": options})

    assert (answer.status, answer.reason) == (409, "Conflict")
    assert await _has_pod(server, "a")
