"""A kubeconfig's token is asked for again before it is too old, and a token that cannot be had costs no request."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from remediator.clients.kubernetes import KubernetesConnection, connect_kubernetes
from remediator.clients.kubernetes.fresh_token import EVERY, SECONDS, FreshToken
from tests.clients.kubeconfigs import kubeconfig


@dataclass
class Scene:
    """A cluster whose kubeconfig finds its token in a file."""

    file: Path
    kubeconfig: Path = Path()
    now: float = 0
    seen: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append(request.headers["Authorization"])
        return web.json_response({})

    def give(self, token: str) -> None:
        credential = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": token},
        }
        self.file.write_bytes(msgspec.json.encode(credential) if self.file.suffix == ".json" else token.encode())

    def pass_time(self) -> None:
        self.now += EVERY.total_seconds()


@pytest.fixture(params=["tokenFile", "exec"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path / ("token" if request.param == "tokenFile" else "credential.json"))
    command = {"apiVersion": "client.authentication.k8s.io/v1", "command": "cat", "args": [str(scene.file)]}
    user = {"tokenFile": str(scene.file)} if request.param == "tokenFile" else {"exec": command}
    app = web.Application()
    app.router.add_get("/version", scene.answer)
    async with TestServer(app) as server:
        scene.kubeconfig = kubeconfig(tmp_path, str(server.make_url("/")), **user)
        scene.give("first")
        yield scene


@pytest.fixture
async def cluster(scene: Scene) -> AsyncIterator[KubernetesConnection]:
    connection = await connect_kubernetes(scene.kubeconfig, None, monotonic=lambda: scene.now)
    yield connection
    await connection.close()


async def test_a_new_token_is_asked_for_at_most_once_a_minute(scene: Scene, cluster: KubernetesConnection) -> None:
    scene.give("second")

    await cluster.transport.look("/version")
    scene.pass_time()
    await cluster.transport.look("/version")
    scene.give("third")
    await cluster.transport.look("/version")

    assert scene.seen == ["Bearer first", "Bearer second", "Bearer second"]


async def test_a_token_that_cannot_be_read_is_told_and_the_old_one_stays(
    scene: Scene, cluster: KubernetesConnection
) -> None:
    scene.file.unlink()
    scene.pass_time()

    with capture_logs() as told:
        await cluster.transport.look("/version")

    assert scene.seen == ["Bearer first"]
    assert [entry["event"] for entry in told] == ["cluster credentials not refreshed"]


async def test_the_token_of_another_context_is_not_sent_here(scene: Scene, cluster: KubernetesConnection) -> None:
    """Somebody switched to another cluster in the file that we share."""
    document = msgspec.json.decode(scene.kubeconfig.read_bytes())
    document["users"].append({"name": "other", "user": {"token": "other"}})
    document["contexts"].append({"name": "other", "context": {"cluster": "it", "user": "other"}})
    document["current-context"] = "other"
    scene.kubeconfig.write_bytes(msgspec.json.encode(document))
    scene.pass_time()

    await cluster.transport.look("/version")

    assert scene.seen == ["Bearer first"]


@pytest.mark.looptime
async def test_who_gives_no_new_token_is_left_after_a_while() -> None:
    async def hang() -> Mapping[str, str]:
        await asyncio.Event().wait()
        return {}

    configuration = SimpleNamespace(api_key={"BearerToken": "old"})
    loop = asyncio.get_running_loop()
    hook = FreshToken(hang, monotonic=loop.time)
    await asyncio.sleep(EVERY.total_seconds())

    await asyncio.gather(hook(configuration), hook(configuration))

    assert configuration.api_key == {"BearerToken": "old"}
    assert loop.time() == EVERY.total_seconds() + SECONDS


async def test_requests_of_one_moment_wait_for_the_one_new_token() -> None:
    asked = []

    async def read() -> Mapping[str, str]:
        asked.append("once")
        await asyncio.sleep(0)
        return {"BearerToken": "new"}

    async def token() -> str:
        await hook(configuration)
        return configuration.api_key["BearerToken"]

    now = [0.0]
    configuration = SimpleNamespace(api_key={"BearerToken": "old"})
    hook = FreshToken(read, monotonic=lambda: now[0])
    now[0] = EVERY.total_seconds()

    assert await asyncio.gather(token(), token()) == ["new", "new"]
    assert asked == ["once"]
