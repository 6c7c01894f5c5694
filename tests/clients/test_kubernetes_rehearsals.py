"""Whoever can only look sends no write: a dry run is one to the API server, or it is not sent."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from remediator.clients.kubernetes import KubernetesConnection, connect_kubernetes
from remediator.clients.kubernetes.read_only import ReadOnly, dry_run_of
from remediator.domain.errors import NotAllowed
from remediator.domain.plan import Call
from tests.fakes.kubernetes import FakeCluster

POD = "/api/v1/namespaces/prod/pods/one"
QUERY = {"dryRun": "All"}
PRECONDITIONS = {"preconditions": {"uid": "1f3c"}}


@pytest.fixture
async def connection(fake_cluster: FakeCluster, tmp_path: Path) -> AsyncIterator[KubernetesConnection]:
    connection = await connect_kubernetes(fake_cluster.write_kubeconfig(tmp_path / "kubeconfig"), None)
    yield connection
    await connection.close()


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(Call("kubernetes", "DELETE", POD, QUERY, PRECONDITIONS), id="delete-with-a-body-that-hides-it"),
        pytest.param(Call("kubernetes", "DELETE", POD, QUERY, {}), id="delete-with-an-empty-body"),
        pytest.param(Call("kubernetes", "DELETE", POD, QUERY, [{"dryRun": ["All"]}]), id="delete-with-a-list"),
        pytest.param(Call("kubernetes", "DELETE", POD, QUERY, {"dryRun": "All"}), id="delete-with-no-list"),
        pytest.param(Call("kubernetes", "DELETE", POD), id="delete"),
        pytest.param(Call("kubernetes", "delete", POD, QUERY), id="no-method-we-know"),
        pytest.param(Call("kubernetes", "PATCH", POD, body={"dryRun": ["All"]}), id="patch-by-its-body"),
        pytest.param(Call("kubernetes", "PATCH", POD, {"dryRun": "all"}), id="patch-in-other-letters"),
        pytest.param(Call("kubernetes", "POST", f"{POD}/eviction", {"dryrun": "All"}), id="post-in-other-letters"),
        pytest.param(Call("kubernetes", "PUT", f"{POD}#", QUERY), id="a-query-that-is-not-sent"),
        pytest.param(Call("kubernetes", "PUT", f"{POD}?dryRun=", QUERY), id="a-second-query"),
    ],
)
async def test_what_is_no_dry_run_to_the_server_is_not_sent(
    call: Call, connection: KubernetesConnection, fake_cluster: FakeCluster
) -> None:
    with pytest.raises(NotAllowed, match="not sent"):
        await ReadOnly(connection.transport).rehearse(call)

    assert fake_cluster.requests == []


@pytest.mark.parametrize("resource", [f"{POD}#", f"{POD}?dryRun="])
async def test_a_call_that_cannot_be_rehearsed_is_not_accepted(
    resource: str, connection: KubernetesConnection, fake_cluster: FakeCluster
) -> None:
    answer = await connection.reader.rehearse(Call("kubernetes", "DELETE", resource, body=PRECONDITIONS))

    assert not answer.accepted
    assert fake_cluster.requests == []


def test_a_dry_run_is_the_call_itself_and_says_so_where_it_is_read() -> None:
    deletion = Call("kubernetes", "DELETE", POD, {"pretty": "true"}, PRECONDITIONS)
    patch = Call("kubernetes", "PATCH", POD, body=[{"op": "remove", "path": "/spec"}])

    asked = {"dryRun": "All", "fieldManager": "remediator"}
    assert dry_run_of(deletion) == replace(
        deletion, query={"pretty": "true", **asked}, body={**PRECONDITIONS, "dryRun": ["All"]}
    )
    assert dry_run_of(patch) == replace(patch, query=asked)
