"""A dry run answers like the real thing and changes nothing."""

import pytest

from tests.contract.objects import config_map, deployment
from tests.contract.server import MERGE_PATCH, Answer, ApiServer


async def _create(server: ApiServer) -> Answer:
    return await server.post(server.path("configmaps"), config_map("other"), dryRun="All")


async def _replace(server: ApiServer) -> Answer:
    body = config_map("settings", colour="blue")
    return await server.put(server.path("configmaps", "settings"), body, dryRun="All")


async def _patch(server: ApiServer) -> Answer:
    body = {"data": {"colour": "blue"}}
    return await server.patch(server.path("configmaps", "settings"), body, kind=MERGE_PATCH, dryRun="All")


async def _delete(server: ApiServer) -> Answer:
    return await server.delete(server.path("configmaps", "settings"), dryRun="All")


async def _delete_by_body(server: ApiServer) -> Answer:
    return await server.delete(server.path("configmaps", "settings"), {"dryRun": ["All"]})


async def _delete_by_query_and_body(server: ApiServer) -> Answer:
    body = {"preconditions": await _uid(server), "dryRun": ["All"]}
    return await server.delete(server.path("configmaps", "settings"), body, dryRun="All")


@pytest.mark.parametrize("attempt", [_create, _replace, _patch, _delete, _delete_by_body, _delete_by_query_and_body])
async def test_a_dry_run_succeeds_and_changes_nothing(server: ApiServer, attempt: object) -> None:
    assert callable(attempt)
    before = (await server.post(server.path("configmaps"), config_map("settings", colour="red"))).body

    answer = await attempt(server)
    after = await server.get(server.path("configmaps", "settings"))
    other = await server.get(server.path("configmaps", "other"))

    assert answer.status in {200, 201}
    assert after.body == before
    assert other.status == 404


async def _uid(server: ApiServer) -> dict[str, str]:
    found = await server.get(server.path("configmaps", "settings"))
    return {"uid": found.body["metadata"]["uid"]}


@pytest.mark.parametrize("is_empty", [False, True], ids=["with-preconditions", "empty"])
async def test_a_delete_with_a_body_is_no_dry_run_whatever_its_query_says(server: ApiServer, *, is_empty: bool) -> None:
    """The server reads the options from the query only where there is no body: this one deletes."""
    await server.post(server.path("configmaps"), config_map("settings"))
    body = {} if is_empty else {"preconditions": await _uid(server)}

    answer = await server.delete(server.path("configmaps", "settings"), body, dryRun="All")
    after = await server.get(server.path("configmaps", "settings"))

    assert (answer.status, after.status) == (200, 404)


async def test_a_write_that_is_no_delete_is_no_dry_run_whatever_its_body_says(server: ApiServer) -> None:
    answer = await server.post(server.path("configmaps"), {**config_map("settings"), "dryRun": ["All"]})
    after = await server.get(server.path("configmaps", "settings"))

    assert (answer.status, after.status) == (201, 200)


async def test_a_dry_run_shows_what_would_be(server: ApiServer) -> None:
    await server.post(server.path("deployments"), deployment("web"))

    body = {"spec": {"replicas": 3}}
    answer = await server.patch(server.path("deployments", "web", "scale"), body, kind=MERGE_PATCH, dryRun="All")
    after = await server.get(server.path("deployments", "web"))

    assert (answer.status, answer.body["spec"]) == (200, {"replicas": 3})
    assert after.body["spec"]["replicas"] == 0


async def test_a_dry_run_refuses_what_the_real_thing_would(server: ApiServer) -> None:
    await server.post(server.path("configmaps"), config_map("settings"))

    answer = await server.post(server.path("configmaps"), config_map("settings"), dryRun="All")

    assert (answer.status, answer.reason) == (409, "AlreadyExists")


async def test_a_dry_run_is_spelled_all_or_refused(server: ApiServer) -> None:
    answer = await server.post(server.path("configmaps"), config_map("settings"), dryRun="True")
    after = await server.get(server.path("configmaps", "settings"))

    assert (answer.status, answer.reason, after.status) == (422, "Invalid", 404)
    assert answer.body["details"]["causes"][0]["field"] == "dryRun"
