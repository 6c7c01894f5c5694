"""The people of one seed, over HTTP: they acknowledge, resolve, approve what waits, throw the kill switch."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import aiohttp

from tests.cluster.eventually import eventually
from tests.faults.evidence import Answered, Approved, Standstill
from tests.faults.fleet import Fleet
from tests.faults.scenario import REST_WITHIN, Person
from tests.system.daemon import API_TOKEN

REFUSALS = (aiohttp.ClientError, TimeoutError)
PATIENCE = aiohttp.ClientTimeout(2)
_AS_PERSON = {"Authorization": f"Bearer {API_TOKEN}"}


@dataclass
class People:
    fleet: Fleet
    session: aiohttp.ClientSession
    answered: list[Answered] = field(default_factory=list)
    approved: list[Approved] = field(default_factory=list)
    standstills: list[Standstill] = field(default_factory=list)

    async def respond(self, person: Person) -> None:
        await asyncio.sleep(person.at)
        ends = time.monotonic() + 20
        while time.monotonic() < ends:
            for incident in await self._get("/api/v1/incidents?status=triggered"):
                status = await self._post(f"/api/v1/incidents/{incident['id']}/{person.does}", {})
                if status == 200:
                    self.answered.append(Answered(incident["id"], person.does))
                    return
            await asyncio.sleep(0.1)

    async def stop_everything(self, thrown_at: float, lifted_at: float) -> None:
        await asyncio.sleep(thrown_at)
        await eventually(partial(self._switched, on=True), within=REST_WITHIN)
        begins_at = datetime.now(UTC)
        await asyncio.sleep(lifted_at - thrown_at)
        self.standstills.append(Standstill(begins_at, datetime.now(UTC)))
        await eventually(partial(self._switched, on=False), within=REST_WITHIN)

    async def approve_everything(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(0.3)
            for incident in await self._get("/api/v1/incidents"):
                if incident["phase"] == "proposed" and incident["plan"] is not None:
                    await self._approve(incident["id"], incident["plan"]["digest"])

    async def _approve(self, incident: int, plan: str) -> None:
        if await self._post(f"/api/v1/incidents/{incident}/approve", {"plan": plan}) == 200:
            self.approved.append(Approved(incident, plan))

    async def _switched(self, *, on: bool) -> bool:
        return await self._post("/api/v1/kill-switch", {"on": on, "reason": "the story"}, method="PUT") == 200

    async def _get(self, path: str) -> list[dict[str, Any]]:
        for url in self.fleet.urls():
            with suppress(*REFUSALS):
                async with self.session.get(url + path, headers=_AS_PERSON, timeout=PATIENCE) as response:
                    if response.status == 200:
                        found: list[dict[str, Any]] = (await response.json())["incidents"]
                        return found
        return []

    async def _post(self, path: str, body: object, *, method: str = "POST") -> int:
        """The status; 0 where no answer came. The last replica first: it was started last."""
        for url in reversed(self.fleet.urls()):
            with suppress(*REFUSALS):
                asking = self.session.request(method, url + path, json=body, headers=_AS_PERSON, timeout=PATIENCE)
                async with asking as response:
                    return response.status
        return 0
