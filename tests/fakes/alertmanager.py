"""Alertmanager's API v2 at the wire, as far as a poll uses it: what it lists, since when it runs, and how it fails."""

import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from tests.fakes.serving import serving

RECEIVER = "remediator"
AT_ONCE = "route: { receiver: remediator, group_wait: 0s }\nreceivers: [{ name: remediator }]\n"
GRAFANA_AT_ONCE = '{"route": {"receiver": "remediator", "group_wait": "0s"}}'
MUTED_AT_TIMES = """
route:
  receiver: remediator
  group_wait: 0s
  group_interval: 0s
  routes: [{ matchers: [a=b], mute_time_intervals: [nights] }]
"""


@dataclass
class FakeAlertmanager:
    """One peer. It has been up for an hour unless `restart` says otherwise."""

    prefix: str = ""
    url: str = ""
    alerts: dict[str, dict[str, Any]] = field(default_factory=dict)
    started_at: datetime | None = field(default_factory=lambda: datetime.now(UTC) - timedelta(hours=1))
    config: str = AT_ONCE
    answers_with: int = 200
    """Any other status, and no list."""
    tells_its_status: bool = True
    groups_answer_with: int = 200
    tells_mutes: bool = True
    """As releases from 0.28 on do, in the list of groups."""
    sends: bytes | None = None
    """Instead of the list."""
    authorization: str = ""
    """What it wants to see; empty: nothing."""
    polls: int = 0
    mutes: dict[str, str] = field(default_factory=dict)
    """By the alert's fingerprint."""

    def fire(
        self,
        *,
        receiver: str = RECEIVER,
        silenced_by: str = "",
        inhibited_by: str = "",
        muted_by: str = "",
        **labels: str,
    ) -> str:
        """Lists an alert, or lists it anew; gives its fingerprint. What mutes it only the list of groups tells."""
        fingerprint = fingerprint_of(labels)
        suppressed = bool(silenced_by or inhibited_by)
        self.mutes[fingerprint] = muted_by
        self.alerts[fingerprint] = {
            "annotations": {"summary": "it fires"},
            "endsAt": "2099-01-01T00:00:00.000Z",
            "fingerprint": fingerprint,
            "receivers": [{"name": receiver}],
            "startsAt": datetime.now(UTC).isoformat().replace("+00:00", "123Z"),
            "status": {
                "inhibitedBy": [inhibited_by] if inhibited_by else [],
                "silencedBy": [silenced_by] if silenced_by else [],
                "state": "suppressed" if suppressed else "active",
                "mutedBy": [],
            },
            "updatedAt": "2026-01-01T00:00:00.000Z",
            "generatorURL": "http://prometheus/graph",
            "labels": labels,
        }
        return fingerprint

    def end(self, **labels: str) -> None:
        self.alerts.pop(fingerprint_of(labels), None)

    def restart(self) -> None:
        """Memory is all it has."""
        self.alerts.clear()
        self.started_at = datetime.now(UTC)

    async def list_alerts(self, request: web.Request) -> web.Response:
        self.polls += 1
        if refused := self._refused(request):
            return refused
        return web.Response(body=self.sends or json.dumps(list(self.alerts.values())), content_type="application/json")

    async def list_groups(self, request: web.Request) -> web.Response:
        """One group an alert."""
        if self.groups_answer_with != 200:
            return web.Response(status=self.groups_answer_with)
        if refused := self._refused(request):
            return refused
        groups = [
            {"labels": {}, "receiver": receiver, "alerts": [alert | {"status": self._muting(fingerprint, alert)}]}
            for fingerprint, alert in self.alerts.items()
            for receiver in alert["receivers"]
            if re.fullmatch(request.query["receiver"], receiver["name"])
        ]
        return web.json_response(groups)

    def _muting(self, fingerprint: str, alert: dict[str, Any]) -> dict[str, Any]:
        by = self.mutes[fingerprint]
        muting = alert["status"] | {"mutedBy": [by] if by else []}
        if not self.tells_mutes:
            del muting["mutedBy"]
        return muting

    async def status(self, request: web.Request) -> web.Response:
        if refused := self._refused(request):
            return refused
        if not self.tells_its_status:
            return web.Response(status=403)
        config: object = {"original": self.config} if not self.prefix else json.loads(self.config)
        uptime = self.started_at.isoformat().replace("+00:00", "Z") if self.started_at else None
        return web.json_response({"cluster": {"status": "disabled"}, "config": config, "uptime": uptime})

    def _refused(self, request: web.Request) -> web.Response | None:
        if self.authorization and request.headers.get("Authorization") != self.authorization:
            return web.Response(status=401)
        if self.answers_with == 302:
            return web.Response(status=302, headers={"Location": "https://elsewhere/"})
        return web.Response(status=self.answers_with, text="not now") if self.answers_with != 200 else None


@asynccontextmanager
async def fake_alertmanager(*, grafana: bool = False) -> AsyncIterator[FakeAlertmanager]:
    """`grafana`: the same API under Grafana's path; it never says when it started."""
    fake = FakeAlertmanager(prefix="/api/alertmanager/grafana" if grafana else "")
    if grafana:
        fake.started_at, fake.config = None, "{}"
    app = web.Application()
    app.add_routes(
        [
            web.get(f"{fake.prefix}/api/v2/alerts", fake.list_alerts),
            web.get(f"{fake.prefix}/api/v2/alerts/groups", fake.list_groups),
            web.get(f"{fake.prefix}/api/v2/status", fake.status),
        ]
    )
    async with serving(app) as url:
        fake.url = url
        yield fake


def fingerprint_of(labels: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(labels.items())).encode()).hexdigest()[:16]
