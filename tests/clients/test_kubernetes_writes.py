"""A write to a cluster leaves once, and its fence is asked when there is a connection to write on."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from remediator.clients.kubernetes import KubernetesConnection, connect_kubernetes
from remediator.domain.errors import Ambiguous, NotAllowed
from remediator.domain.ids import IntentId
from remediator.domain.plan import Call
from tests.clients.kubeconfigs import kubeconfig

POD = Call("kubernetes", "DELETE", "/api/v1/namespaces/shop/pods/one", body={"preconditions": {"uid": "1f3c"}})
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class ApiServer:
    """Answers what looks; hangs up on what writes once it has read it, as one that dies in the middle does."""

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


async def _head(reader: asyncio.StreamReader) -> str:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).decode()
    except asyncio.IncompleteReadError:
        return ""


@pytest.fixture
def server() -> ApiServer:
    return ApiServer()


@pytest.fixture
async def cluster(server: ApiServer, tmp_path: Path) -> AsyncIterator[KubernetesConnection]:
    async with await asyncio.start_server(server.serve, "127.0.0.1") as listening:
        port = listening.sockets[0].getsockname()[1]
        connection = await connect_kubernetes(kubeconfig(tmp_path, f"http://127.0.0.1:{port}"), None)
        yield connection
        await connection.close()


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
