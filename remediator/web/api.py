"""The API that the command line and other programs use: incidents, what people do to them, and the kill switch."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Literal, TypeAlias, TypeVar

import msgspec
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from remediator.domain.errors import BadPayload, NotAllowed
from remediator.domain.ids import IncidentId
from remediator.domain.incident import Incident, Status
from remediator.domain.ledger import KillSwitch
from remediator.domain.timeline import Entry
from remediator.engine.guidance import GuidanceReader
from remediator.engine.respond import Responder
from remediator.store import incidents, ledger, timeline
from remediator.store.database import Database
from remediator.web.auth import ApiGate, Caller, Role

_MOST_LISTED = 1_000
MOST_BYTES = 64 * 1024
"""Of a body: what people send is a note or a digest, and alerts do not come by this door."""
READ_WITHIN = timedelta(seconds=10)
"""For the whole body: who sends half of it and waits must not keep it in memory."""

RoleName: TypeAlias = Literal["read", "respond", "approve"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Approve(_Body):
    plan: str = Field(min_length=1, max_length=64)
    """The digest of the plan that was read."""


class _Resolve(_Body):
    note: str = Field(default="", max_length=2_000)


class _Switch(_Body):
    on: bool
    reason: str = Field(default="", max_length=500)


class _Query(_Body):
    status: Status | None = None
    limit: int = Field(default=50, ge=1, le=_MOST_LISTED)


class Api:
    def __init__(self, database: Database, responder: Responder, *, guidance: GuidanceReader, gate: ApiGate) -> None:
        self._database = database
        self._responder = responder
        self._guidance = guidance
        self._gate = gate

    def routes(self) -> list[web.RouteDef]:
        one = r"/api/v1/incidents/{id:\d{1,18}}"
        return [
            web.get("/api/v1/incidents", self.list_incidents),
            web.get(one, self.show),
            web.post(f"{one}/acknowledge", self.acknowledge),
            web.post(f"{one}/resolve", self.resolve),
            web.post(f"{one}/approve", self.approve),
            web.get("/api/v1/kill-switch", self.show_kill_switch),
            web.put("/api/v1/kill-switch", self.set_kill_switch),
        ]

    async def list_incidents(self, request: web.Request) -> web.Response:
        self._caller(request, "read")
        query = _read(_Query, dict(request.query))
        async with self._database.connection() as connection:
            found = await incidents.list_incidents(connection, status=query.status, limit=query.limit)
        return _json({"incidents": [incident_view(incident) for incident in found]})

    async def show(self, request: web.Request) -> web.Response:
        self._caller(request, "read")
        async with self._database.connection() as connection:
            incident = await incidents.get_to_show(connection, _incident_id(request))
            entries = await timeline.of_incident(connection, incident.id)
        guidance = await self._guidance.of(incident.rule_version)
        told = {"summary": guidance.summary, "links": guidance.links}
        return _json({**incident_view(incident), **told, "timeline": [entry_view(entry) for entry in entries]})

    async def acknowledge(self, request: web.Request) -> web.Response:
        caller = self._caller(request, "respond")
        return _json(incident_view(await self._responder.acknowledge(_incident_id(request), by=caller.name)))

    async def resolve(self, request: web.Request) -> web.Response:
        caller = self._caller(request, "respond")
        body = await _body(request, _Resolve)
        return _json(
            incident_view(await self._responder.resolve(_incident_id(request), by=caller.name, note=body.note))
        )

    async def approve(self, request: web.Request) -> web.Response:
        caller = self._caller(request, "approve")
        body = await _body(request, _Approve)
        approved = await self._responder.approve(_incident_id(request), digest=body.plan, by=caller.name)
        return _json(incident_view(approved))

    async def show_kill_switch(self, request: web.Request) -> web.Response:
        self._caller(request, "read")
        async with self._database.connection() as connection:
            return _json(msgspec.to_builtins(await ledger.kill_switch(connection)))

    async def set_kill_switch(self, request: web.Request) -> web.Response:
        """Anybody who may respond may stop everything; starting again takes the right to approve."""
        caller = self._gate.caller(request.headers)  # strangers' bodies are not read
        body = await _body(request, _Switch)
        _demand(caller, "respond" if body.on else "approve")
        switch = KillSwitch(on=body.on, by=caller.name, reason=body.reason)
        await self._responder.set_kill_switch(switch)
        return _json(msgspec.to_builtins(switch))

    def _caller(self, request: web.Request, role: RoleName) -> Caller:
        caller = self._gate.caller(request.headers)
        _demand(caller, role)
        return caller


def _demand(caller: Caller, role: RoleName) -> None:
    if Role(role) not in caller.roles:
        raise NotAllowed(f"the API token {caller.name!r} lacks the role {role!r}")


def incident_view(incident: Incident) -> dict[str, object]:
    """What programs see of an incident. Field names are stable: add, never rename."""
    progress = incident.progress
    return {
        "id": incident.id,
        "title": incident.title,
        "status": incident.status,
        "phase": incident.phase,
        "severity": incident.severity,
        "mode": incident.mode,
        "rule": incident.rule,
        "rule_version": incident.rule_version,
        "target": incident.target.key if incident.target else None,
        "firing": incident.firing,
        "opened_at": incident.opened_at,
        "acknowledged_by": incident.acknowledged_by,
        "resolved_at": incident.resolved_at,
        "resolution": incident.resolution,
        "labels": incident.alert.labels,
        "findings": {name: finding.summary for name, finding in progress.findings.items()},
        "plan": {"digest": progress.plan.digest, "summary": progress.plan.summary} if progress.plan else None,
    }


def entry_view(entry: Entry) -> dict[str, object]:
    return {"at": entry.at, "kind": entry.kind, "path": entry.path, "message": entry.message, "data": entry.data}


B = TypeVar("B", bound=BaseModel)


async def _body(request: web.Request, model: type[B]) -> B:
    raw = await _within_bounds(request)
    try:
        return model.model_validate_json(raw or b"{}")
    except ValidationError as error:
        raise BadPayload(_in_words(error)) from error


async def _within_bounds(request: web.Request) -> bytes:
    """Not by `request.read()`: its limit is that of webhooks, which the intake's room bounds together."""
    if (request.content_length or 0) > MOST_BYTES:
        raise _too_large(request.content_length or 0)
    body = bytearray()
    try:
        async with asyncio.timeout(READ_WITHIN.total_seconds()):
            async for chunk in request.content.iter_chunked(MOST_BYTES):
                body += chunk
                if len(body) > MOST_BYTES:
                    raise _too_large(len(body))
    except TimeoutError as error:
        late = f"the body did not come within {READ_WITHIN.total_seconds():g} s"
        raise web.HTTPRequestTimeout(reason=late) from error
    return bytes(body)


def _too_large(size: int) -> web.HTTPException:
    reason = f"the body is larger than {MOST_BYTES >> 10} KiB"
    return web.HTTPRequestEntityTooLarge(max_size=MOST_BYTES, actual_size=size, reason=reason)


def _read(model: type[B], values: Mapping[str, object]) -> B:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise BadPayload(_in_words(error)) from error


def _in_words(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors())


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _incident_id(request: web.Request) -> IncidentId:
    return IncidentId(int(request.match_info["id"]))
