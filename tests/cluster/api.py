"""A thin JSON client for the test cluster: to arrange and to look without the daemon's own client."""

import json
from collections.abc import AsyncIterator, Mapping
from ssl import SSLContext
from types import TracebackType
from typing import Any, Self

import aiohttp

Body = Mapping[str, Any]


class ApiFailure(Exception):
    def __init__(self, status: int, body: str) -> None:
        super().__init__(f"HTTP {status}: {body}")
        self.status = status


class Api:
    """One user's connection. Use as an async context manager."""

    def __init__(self, url: str, ssl: SSLContext, headers: Mapping[str, str]) -> None:
        self._url, self._ssl, self._headers = url, ssl, headers

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            self._url,
            connector=aiohttp.TCPConnector(ssl=self._ssl),
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=None, connect=10, sock_read=60),
            read_bufsize=2**20,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def text(self, path: str, **query: str) -> str:
        return await self._call("GET", path, query=query)

    async def get(self, path: str, **query: str) -> Any:
        return json.loads(await self._call("GET", path, query=query))

    async def create(self, path: str, body: Body, **query: str) -> Any:
        return json.loads(await self._call("POST", path, body=body, query=query))

    async def replace(self, path: str, body: Body) -> Any:
        return json.loads(await self._call("PUT", path, body=body))

    async def merge(self, path: str, body: Body) -> Any:
        """JSON merge patch: also for the status subresource."""
        kind = "application/merge-patch+json"
        return json.loads(await self._call("PATCH", path, body=body, content_type=kind))

    async def apply(self, path: str, body: Body, *, manager: str = "test") -> Any:
        """Server-side apply: creates the object, or makes it so."""
        query = {"fieldManager": manager, "force": "true", "fieldValidation": "Strict"}
        kind = "application/apply-patch+yaml"
        return json.loads(await self._call("PATCH", path, body=body, content_type=kind, query=query))

    async def delete(self, path: str, *, grace: int | None = None, uid: str | None = None) -> Any:
        options: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        return json.loads(await self._call("DELETE", path, body=options))

    async def watch(self, path: str, **query: str) -> AsyncIterator[Any]:
        """Yields events until the server ends the watch; the caller lists and starts again."""
        query = {"watch": "true", "timeoutSeconds": "30"} | query
        async with self._session.get(path, params=query) as response:
            if response.status >= 400:
                raise ApiFailure(response.status, await response.text())
            async for line in response.content:
                yield json.loads(line)

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Body | None = None,
        content_type: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> str:
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type}
        async with self._session.request(method, path, data=data, headers=headers, params=query) as response:
            answer = await response.text()
            if response.status >= 400:
                raise ApiFailure(response.status, answer)
            return answer
