"""The contract's two sides: the fake at every run, the real control plane where its binaries are."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.cluster.control_plane import ControlPlane
from tests.cluster.kubelet import FakeKubelet
from tests.contract.server import ApiServer
from tests.fakes.kubernetes import FakeCluster


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.cluster)])
def control_plane_or_none(request: pytest.FixtureRequest) -> ControlPlane | None:
    if request.param == "fake":
        return None
    plane: ControlPlane = request.getfixturevalue("control_plane")
    return plane


@pytest.fixture
async def server(control_plane_or_none: ControlPlane | None) -> AsyncIterator[ApiServer]:
    plane = control_plane_or_none
    if plane is None:
        async with FakeCluster.serve() as cluster, aiohttp.ClientSession() as session:
            cluster.add_namespace("contract")
            yield ApiServer(session, cluster.url, "contract")
        return
    connector = aiohttp.TCPConnector(ssl=plane.ssl)
    async with FakeKubelet(plane), aiohttp.ClientSession(connector=connector) as session:
        namespace = await plane.namespace()
        yield ApiServer(session, plane.url, namespace, plane.headers())
        await session.delete(f"{plane.url}/api/v1/namespaces/{namespace}", headers=plane.headers())
