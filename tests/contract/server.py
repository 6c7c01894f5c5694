"""One API server as the contract sees it: raw HTTP, and a namespace of its own for each test."""

from dataclasses import dataclass, field
from typing import Any

from aiohttp import ClientSession

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    """Parsed where it is JSON, else the text."""
    retry_after: str | None = None

    @property
    def reason(self) -> str | None:
        return self.body.get("reason") if isinstance(self.body, dict) else None

    @property
    def names(self) -> list[str]:
        return [item["metadata"]["name"] for item in self.body["items"]]


@dataclass(frozen=True, slots=True)
class ApiServer:
    session: ClientSession
    url: str
    namespace: str
    headers: dict[str, str] = field(default_factory=dict)

    def path(self, plural: str, *rest: str) -> str:
        """`deployments` and so on, in this test's namespace."""
        group = {
            "deployments": "apis/apps/v1",
            "replicasets": "apis/apps/v1",
            "poddisruptionbudgets": "apis/policy/v1",
            "leases": "apis/coordination.k8s.io/v1",
        }.get(plural, "api/v1")
        return "/".join(("", group, "namespaces", self.namespace, plural, *rest))

    async def get(self, path: str, **query: str) -> Answer:
        return await self._call("GET", path, query=query)

    async def post(self, path: str, body: object, **query: str) -> Answer:
        return await self._call("POST", path, body=body, query=query)

    async def put(self, path: str, body: object, **query: str) -> Answer:
        return await self._call("PUT", path, body=body, query=query)

    async def patch(self, path: str, body: object, *, kind: str, **query: str) -> Answer:
        return await self._call("PATCH", path, body=body, kind=kind, query=query)

    async def delete(self, path: str, body: object = None, **query: str) -> Answer:
        return await self._call("DELETE", path, body=body, query=query)

    async def _call(
        self, method: str, path: str, *, query: dict[str, str], body: object = None, kind: str = "application/json"
    ) -> Answer:
        headers = {**self.headers, "Content-Type": kind}
        url = f"{self.url}{path}"
        async with self.session.request(method, url, params=query, json=body, headers=headers) as response:
            is_json = response.content_type == "application/json"
            content = await response.json() if is_json else await response.text()
            return Answer(response.status, content, response.headers.get("Retry-After"))
