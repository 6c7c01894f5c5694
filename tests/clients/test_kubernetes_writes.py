"""A write to a cluster leaves once, its fence is asked when there is a connection, and it is told whether it left."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp.http_writer import StreamWriter

from remediator.clients.kubernetes import KubernetesConnection, connect_kubernetes
from remediator.clients.kubernetes.transport import CONNECT_SECONDS
from remediator.domain.errors import Ambiguous, NotAllowed, Temporary
from remediator.domain.ids import IntentId
from remediator.domain.plan import Call
from tests.clients.kubeconfigs import kubeconfig
from tests.cluster.certificates import Authority
from tests.fakes.ports import deaf_port, free_port

POD = Call("kubernetes", "DELETE", "/api/v1/namespaces/shop/pods/one", body={"preconditions": {"uid": "1f3c"}})
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class ApiServer:
    """Answers what looks; hangs up on what writes once it has read it, as one that dies in the middle does."""

    url: str = ""
    connections: int = 0
    asked: list[str] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while head := await _head(reader):
            self.asked.append(head.split()[0])
            if self.asked[-1] != "GET":
                break
            writer.write(OK)
        writer.close()

    @asynccontextmanager
    async def listening(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[asyncio.Server]:
        async with await asyncio.start_server(self.serve, "127.0.0.1", ssl=tls) as listening:
            self.url = f"http{'s' if tls else ''}://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
            yield listening


async def _head(reader: asyncio.StreamReader) -> str:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return ""


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    server = ApiServer()
    async with server.listening():
        yield server


@asynccontextmanager
async def connected(url: str, folder: Path) -> AsyncIterator[KubernetesConnection]:
    connection = await connect_kubernetes(kubeconfig(folder, url), None)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def cluster(server: ApiServer, tmp_path: Path) -> AsyncIterator[KubernetesConnection]:
    async with connected(server.url, tmp_path) as cluster:
        yield cluster


async def test_a_write_whose_connection_is_lost_is_not_sent_again(
    server: ApiServer, cluster: KubernetesConnection
) -> None:
    """aiohttp repeats a DELETE on a kept connection by itself; the 404 it then met read as "not done"."""
    await cluster.transport.look("/version")

    with pytest.raises(Ambiguous):
        await cluster.writer().send(POD, IntentId("1"))

    assert server.asked == ["GET", "DELETE"]


@pytest.mark.parametrize("is_kept", [True, False], ids=["on a kept connection", "on a new connection"])
async def test_the_fence_is_asked_once_there_is_a_connection(
    server: ApiServer, cluster: KubernetesConnection, is_kept: bool
) -> None:
    connected_when_asked = []

    def refuse() -> None:
        connected_when_asked.append(server.connections)
        raise NotAllowed("the lease ran out")

    if is_kept:
        await cluster.transport.look("/version")
    with pytest.raises(NotAllowed, match="the lease ran out"):
        await replace(cluster.writer(), fence=refuse).send(POD, IntentId("1"))

    assert connected_when_asked == [1]
    assert "DELETE" not in server.asked


async def test_a_replica_that_is_frozen_between_the_headers_and_the_body_sends_neither(
    server: ApiServer, cluster: KubernetesConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They leave together, in the next turn of the event loop; what ran in between froze it past its lease."""
    is_late = False
    write_headers = StreamWriter.write_headers

    async def freeze_after(writer: StreamWriter, *what: Any) -> None:
        nonlocal is_late
        await write_headers(writer, *what)
        is_late = True

    def fence() -> None:
        if is_late:
            raise NotAllowed("the lease ran out")

    monkeypatch.setattr(StreamWriter, "write_headers", freeze_after)
    with pytest.raises(NotAllowed, match="the lease ran out"):
        await replace(cluster.writer(), fence=fence).send(POD, IntentId("1"))

    assert "DELETE" not in server.asked


@pytest.fixture
async def unknown(tmp_path: Path) -> AsyncIterator[ApiServer]:
    """Its certificate is of an authority that the kubeconfig does not name."""
    certificate = Authority(tmp_path, "another").server("server", "127.0.0.1")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate.cert, certificate.key)
    server = ApiServer()
    async with server.listening(tls):
        yield server


@pytest.fixture
def unreachable(unknown: ApiServer) -> Mapping[str, str]:
    return {
        "refused": f"http://127.0.0.1:{free_port()}",
        "no such name": "http://cluster.invalid",
        "not trusted": unknown.url,
    }


@pytest.mark.parametrize(
    ("where", "complaint"),
    [
        ("refused", "Connect call failed"),
        ("no such name", "Cannot connect to host cluster.invalid"),
        ("not trusted", "certificate verify failed"),
    ],
)
async def test_a_write_that_finds_no_connection_was_surely_not_sent(
    unreachable: Mapping[str, str], tmp_path: Path, where: str, complaint: str
) -> None:
    async with connected(unreachable[where], tmp_path) as cluster:
        with pytest.raises(Temporary, match=complaint):
            await cluster.writer().send(POD, IntentId("1"))


@pytest.mark.looptime
async def test_a_write_waits_a_few_seconds_for_its_connection_and_was_then_surely_not_sent(tmp_path: Path) -> None:
    """An action's own time would be up first, and what is known not to have been sent be looked for in the world."""
    with deaf_port() as port:
        async with connected(f"http://127.0.0.1:{port}", tmp_path) as cluster:
            begun = asyncio.get_running_loop().time()

            with pytest.raises(Temporary, match="Connection timeout"):
                await cluster.writer().send(POD, IntentId("1"))

            assert asyncio.get_running_loop().time() - begun == pytest.approx(CONNECT_SECONDS, abs=1)


async def test_a_write_that_was_read_and_not_answered_may_have_happened(
    server: ApiServer, cluster: KubernetesConnection
) -> None:
    with pytest.raises(Ambiguous):
        await cluster.writer().send(POD, IntentId("1"))

    assert server.asked == ["DELETE"]


async def test_a_write_that_was_lost_and_then_finds_nobody_may_have_happened(tmp_path: Path) -> None:
    """aiohttp connects anew to send it again. That it was refused there says nothing of the first time."""
    server = ApiServer()
    async with server.listening() as listening, connected(server.url, tmp_path) as cluster:
        await cluster.transport.look("/version")
        listening.close()

        with pytest.raises(Ambiguous, match="Connect call failed"):
            await cluster.writer().send(POD, IntentId("1"))

    assert server.asked == ["GET", "DELETE"]
