"""Requests go to the API server that the kubeconfig names, and to nobody else."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from remediator.clients.kubernetes import KubernetesConnection, connect_kubernetes
from remediator.domain.errors import Permanent
from remediator.domain.ids import IntentId
from remediator.domain.plan import Call
from tests.clients.kubeconfigs import kubeconfig


@pytest.fixture
async def server() -> AsyncIterator[TestServer]:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"asked": request.path})

    async def away(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect("/elsewhere")

    async def nowhere(request: web.Request) -> web.Response:
        return web.Response(status=302)

    app = web.Application()
    app.router.add_route("*", "/away", away)
    app.router.add_route("*", "/nowhere", nowhere)
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        yield server


@pytest.fixture
async def cluster(server: TestServer, tmp_path: Path) -> AsyncIterator[KubernetesConnection]:
    connection = await connect_kubernetes(kubeconfig(tmp_path, str(server.make_url("/")), token="its"), None)
    yield connection
    await connection.close()


@pytest.fixture(params=["netrc", "HTTP_PROXY"])
def environment(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "netrc":
        netrc = tmp_path / "netrc"
        netrc.write_text("default login somebody password else")
        monkeypatch.setenv("NETRC", str(netrc))
    else:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")


@pytest.mark.usefixtures("environment")
async def test_what_the_environment_says_about_the_web_is_not_for_the_cluster(cluster: KubernetesConnection) -> None:
    assert await cluster.transport.look("/version") == b'{"asked": "/version"}'


@pytest.mark.parametrize("path", ["/away", "/nowhere"])
async def test_a_redirect_is_refused_and_not_followed(cluster: KubernetesConnection, path: str) -> None:
    with pytest.raises(Permanent, match="answered 30"):
        await cluster.transport.look(path)
    with pytest.raises(Permanent, match="answered 30"):
        await cluster.writer().send(Call("kubernetes", "DELETE", path), IntentId("1"))


async def test_a_proxy_that_the_kubeconfig_names_is_used(server: TestServer, tmp_path: Path) -> None:
    proxy = str(server.make_url("/"))
    connection = await connect_kubernetes(kubeconfig(tmp_path, "http://cluster.invalid", proxy_url=proxy), None)

    assert await connection.transport.look("/version") == b'{"asked": "/version"}'

    await connection.close()
