"""Pages for people: the incidents, one incident's timeline, and the acknowledge page behind a signed link.

No scripts: it must work on a phone with a bad connection. A GET changes nothing (mail scanners follow links).
"""

import unicodedata
from pathlib import Path

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from remediator.domain.errors import NotAllowed, NotFound, Unauthenticated
from remediator.domain.ids import IncidentId
from remediator.engine.guidance import GuidanceReader
from remediator.engine.links import Links
from remediator.engine.respond import Responder
from remediator.store import escalations, incidents, timeline
from remediator.store.database import Database
from remediator.web.auth import ApiGate, Role


def _visible(value: object) -> object:
    """Labels are hostile: none turns the text around, hides in it or holds what a terminal obeys. Lines may end."""
    if not isinstance(value, str) or value.isprintable():
        return value
    return "".join(c if unicodedata.category(c) not in _UNSEEN or c in _SEEN else _escaped(c) for c in value)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_SEEN = "\n\t\u200c\u200d"
"""The last two join letters, or keep them apart, in many a language."""
_TEMPLATES = Environment(
    loader=PackageLoader("remediator.web"), autoescape=True, undefined=StrictUndefined, finalize=_visible
)
_STYLE = Path(__file__).parent / "static" / "remediator.css"
_LISTED = 200
_LATEST = 500
"""Entries of a timeline: one that thousands of alerts have joined would take megabytes, and everybody's time."""


class Pages:
    def __init__(
        self, database: Database, responder: Responder, *, links: Links, guidance: GuidanceReader, gate: ApiGate
    ) -> None:
        self._database = database
        self._responder = responder
        self._links = links
        self._guidance = guidance
        self._gate = gate

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", _to_incidents),
            web.get("/incidents", self.list_incidents),
            web.get(r"/incidents/{id:\d{1,18}}", self.show_incident),
            web.get(r"/incidents/{id:\d{1,18}}/acknowledge", self.ask_to_acknowledge),
            web.post(r"/incidents/{id:\d{1,18}}/acknowledge", self.acknowledge),
            web.get("/incidents/", _to_incidents),
            web.get("/incidents/{other:.+}", _no_such_incident),
            web.get("/static/remediator.css", _style),
        ]

    async def list_incidents(self, request: web.Request) -> web.Response:
        if (refusal := self._ask_for_login(request)) is not None:
            return refusal
        async with self._database.connection() as connection:
            found = await incidents.list_incidents(connection, limit=_LISTED)
        return _page("incidents.html", incidents=found)

    async def show_incident(self, request: web.Request) -> web.Response:
        if (refusal := self._ask_for_login(request)) is not None:
            return refusal
        return await self._incident_page(_incident_id(request), form="")

    async def ask_to_acknowledge(self, request: web.Request) -> web.Response:
        """Shows the incident and a button; whoever holds the link may see what they were paged for."""
        try:
            self._links.recipient(_incident_id(request), request.query.get("token", ""))
        except Unauthenticated as error:
            return _page("message.html", status=403, heading="This link does not work", message=str(error))
        return await self._incident_page(_incident_id(request), form="acknowledge")

    async def acknowledge(self, request: web.Request) -> web.Response:
        try:
            recipient = self._links.recipient(_incident_id(request), request.query.get("token", ""))
        except Unauthenticated as error:
            return _page("message.html", status=403, heading="This link does not work", message=str(error))
        try:
            await self._responder.acknowledge(_incident_id(request), by=recipient)
        except NotAllowed:
            return await self._incident_page(_incident_id(request), form="refused", status=409)
        return await self._incident_page(_incident_id(request), form="acknowledged")

    async def _incident_page(self, incident_id: IncidentId, *, form: str, status: int = 200) -> web.Response:
        try:
            async with self._database.connection() as connection:
                incident = await incidents.get_to_show(connection, incident_id)
                severity = await escalations.severity_to_show(connection, incident_id)
                entries = await timeline.of_incident(connection, incident_id, latest=_LATEST + 1)
        except NotFound as error:
            return _page("message.html", status=404, heading="No such incident", message=str(error))
        offered = form if incident.is_open or form != "acknowledge" else ""
        return _page(
            "incident.html",
            status=status,
            incident=incident,
            severity=severity,
            guidance=await self._guidance.of(incident.rule_version),
            timeline=entries[-_LATEST:],
            is_cut=len(entries) > _LATEST,
            form=offered,
        )

    def _ask_for_login(self, request: web.Request) -> web.Response | None:
        """Browsers log in with HTTP basic: any user name, an API token as the password."""
        try:
            caller = self._gate.reader(request.headers)
        except Unauthenticated:
            return web.Response(
                status=401, text="Log in with an API token as the password.", headers={"WWW-Authenticate": "Basic"}
            )
        if Role.READ not in caller.roles:
            message = f"the API token {caller.name!r} lacks the role 'read'"
            return _page("message.html", status=403, heading="These pages are not for you", message=message)
        return None


async def _style(request: web.Request) -> web.FileResponse:
    return web.FileResponse(_STYLE)


async def _no_such_incident(request: web.Request) -> web.Response:
    message = f"{request.match_info['other']!r} is no incident's number."
    return _page("message.html", status=404, heading="No such incident", message=message)


async def _to_incidents(request: web.Request) -> web.Response:
    raise web.HTTPFound("/incidents")


def _page(template: str, *, status: int = 200, **values: object) -> web.Response:
    text = _TEMPLATES.get_template(template).render(**values)
    return web.Response(text=text, status=status, content_type="text/html")


def _incident_id(request: web.Request) -> IncidentId:
    return IncidentId(int(request.match_info["id"]))
