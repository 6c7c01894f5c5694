"""Selectors, pages and watches."""

import json

import pytest

from tests.contract.objects import config_map
from tests.contract.server import ApiServer


async def _fill(server: ApiServer) -> None:
    for name, labels in (("a", {"tier": "web"}), ("b", {"tier": "db", "zone": "1"}), ("c", {})):
        await server.post(server.path("configmaps"), config_map(f"settings-{name}", labels={"mine": "yes", **labels}))


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        pytest.param("tier=web", "a", id="equal"),
        pytest.param("tier==web", "a", id="equal, twice"),
        pytest.param("tier!=web", "bc", id="unequal also matches what lacks the label"),
        pytest.param("tier in (web, db)", "ab", id="in"),
        pytest.param("tier notin (web)", "bc", id="not in"),
        pytest.param("tier", "ab", id="has the label"),
        pytest.param("!tier", "c", id="lacks the label"),
        pytest.param("tier in (web,db),zone=1", "b", id="both"),
    ],
)
async def test_a_label_selector_picks(server: ApiServer, selector: str, names: str) -> None:
    await _fill(server)

    answer = await server.get(server.path("configmaps"), labelSelector=f"mine=yes,{selector}")

    assert answer.names == [f"settings-{name}" for name in names]


async def test_a_field_selector_picks(server: ApiServer) -> None:
    await _fill(server)

    answer = await server.get(server.path("configmaps"), fieldSelector="metadata.name=settings-b")

    assert answer.names == ["settings-b"]


async def test_a_field_that_is_not_indexed_is_a_bad_request(server: ApiServer) -> None:
    answer = await server.get(server.path("pods"), fieldSelector="spec.colour=red")

    assert (answer.status, answer.reason) == (400, "BadRequest")
    assert "field label not supported: spec.colour" in answer.body["message"]


async def test_a_broken_label_selector_is_a_bad_request(server: ApiServer) -> None:
    answer = await server.get(server.path("configmaps"), labelSelector="tier in web")

    assert (answer.status, answer.reason) == (400, "BadRequest")


async def test_pages_follow_each_other_and_show_one_moment(server: ApiServer) -> None:
    await _fill(server)
    first = await server.get(server.path("configmaps"), labelSelector="mine=yes", limit="2")
    await server.post(server.path("configmaps"), config_map("settings-d", labels={"mine": "yes"}))

    token = first.body["metadata"]["continue"]
    second = await server.get(server.path("configmaps"), labelSelector="mine=yes", limit="2", **{"continue": token})

    assert first.names + second.names == ["settings-a", "settings-b", "settings-c"]
    assert "continue" not in second.body["metadata"]
    assert first.body["metadata"]["resourceVersion"] == second.body["metadata"]["resourceVersion"]


async def test_a_broken_continue_token_is_a_bad_request(server: ApiServer) -> None:
    answer = await server.get(server.path("configmaps"), limit="1", **{"continue": "nonsense"})

    assert (answer.status, answer.reason) == (400, "BadRequest")


async def test_a_list_from_the_future_times_out(server: ApiServer) -> None:
    version = str(2**40)

    answer = await server.get(server.path("configmaps"), resourceVersion=version)

    assert (answer.status, answer.reason, answer.retry_after) == (504, "Timeout", "1")
    assert answer.body["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


async def test_items_of_a_list_do_not_say_their_kind(server: ApiServer) -> None:
    await _fill(server)

    answer = await server.get(server.path("configmaps"))

    assert answer.body["kind"] == "ConfigMapList"
    assert "kind" not in answer.body["items"][0]


@pytest.mark.parametrize("spelling", ["true", "True", "1"])
async def test_a_watch_tells_what_has_changed_since_a_version(server: ApiServer, spelling: str) -> None:
    listed = await server.get(server.path("configmaps"))
    version = listed.body["metadata"]["resourceVersion"]
    path = server.path("configmaps", "settings")
    await server.post(server.path("configmaps"), config_map("settings", labels={"mine": "yes"}, colour="red"))
    await server.put(path, config_map("settings", labels={"mine": "yes"}, colour="blue"))
    await server.put(path, config_map("settings", colour="blue"))
    await server.delete(path)

    url, query = f"{server.url}{server.path('configmaps')}", {"watch": spelling, "timeoutSeconds": "1"}
    query |= {"resourceVersion": version, "labelSelector": "mine=yes"}
    async with server.session.get(url, params=query, headers=server.headers) as response:
        lines = (await response.text()).splitlines()

    events = [json.loads(line) for line in lines]
    assert [event["type"] for event in events] == ["ADDED", "MODIFIED", "DELETED"]
