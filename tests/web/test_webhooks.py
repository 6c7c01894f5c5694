"""The webhook door: who may come in, what each answer means to a sender, and what it never tells."""

import asyncio
import base64
import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from remediator.domain.alert import Accepted, Delivery
from remediator.domain.errors import Overloaded, Temporary
from remediator.domain.ids import SourceName
from remediator.engine.room import Hold, Room
from remediator.metrics import Metrics
from remediator.settings import Webhooks as WebhookSettings
from remediator.web.auth import Gate
from remediator.web.ops import Ops
from remediator.web.server import listen, make_app
from remediator.web.webhooks import Webhooks
from tests.cluster.eventually import eventually

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LIMIT = 100_000
ALERT = {"status": "firing", "labels": {"alertname": "ServiceDown"}, "startsAt": "2026-03-01T12:00:00Z"}
BODY = json.dumps({"version": "4", "alerts": [ALERT]}).encode()
GRAFANA_BODY = json.dumps({"version": "1", "alerts": [ALERT]}).encode()
BEARER = {"Authorization": "Bearer first"}
SETTINGS = {
    "tokens": {"prod-am": ["first", "second"]},
    "basic": {"old-am": {"user": "am", "password": "pass"}},
    "grafana": {"grafana": {"secrets": ["signing"]}},
}


@dataclass
class FakeIntake:
    """Stands where the database would be."""

    accepted: list[Delivery] = field(default_factory=list)
    quarantined: list[tuple[str, bytes, str]] = field(default_factory=list)
    admitted: list[SourceName] = field(default_factory=list)
    fails_with: Exception | None = None
    room: Room = field(default_factory=lambda: Room(10 * LIMIT))

    def admit(self, source: SourceName, size: int) -> AbstractContextManager[Hold]:
        self.admitted.append(source)
        return self.room.hold(source, size)

    async def accept(self, delivery: Delivery) -> Accepted:
        if self.fails_with is not None:
            raise self.fails_with
        self.accepted.append(delivery)
        return Accepted(len(delivery.alerts), len(delivery.rejected), delivery.truncated)

    async def quarantine(self, source: SourceName, body: bytes, reason: str) -> None:
        self.quarantined.append((source, body, reason))


@dataclass
class Door:
    client: "TestClient[Any, Any]"
    intake: FakeIntake

    async def send(
        self,
        body: bytes = BODY,
        *,
        to: str = "alertmanager",
        headers: dict[str, str] | None = None,
        method: str = "POST",
    ) -> ClientResponse:
        return await self.client.request(method, f"/webhooks/{to}", data=body, headers=headers or BEARER)


def app_of(intake: FakeIntake, metrics: Metrics) -> web.Application:
    gate = Gate(WebhookSettings.model_validate(SETTINGS), lambda: NOW)

    async def unready() -> list[str]:
        return ["database: gone"] if intake.fails_with else []

    webhooks = Webhooks(intake, gate, metrics=metrics, body_limit=LIMIT)
    return make_app(webhooks, Ops(metrics, unready), body_limit=LIMIT)


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    intake = FakeIntake()
    server = TestServer(app_of(intake, Metrics()))
    await server.start_server(auto_decompress=False)
    async with TestClient(server) as client:
        yield Door(client, intake)


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_2xx_comes_after_the_alert_is_accepted(door: Door, method: str) -> None:
    answer = await door.send(method=method)

    assert (answer.status, await answer.json()) == (202, {"stored": 1, "rejected": 0, "truncated": 0})
    assert [delivery.source for delivery in door.intake.accepted] == ["prod-am"]


@pytest.mark.parametrize(
    ("headers", "source"),
    [
        pytest.param({"Authorization": "Bearer second"}, "prod-am", id="the second of two tokens"),
        pytest.param({"Authorization": "bearer first"}, "prod-am", id="lower-case scheme"),
        pytest.param({"Authorization": "Basic " + base64.b64encode(b"am:pass").decode()}, "old-am", id="basic"),
    ],
)
async def test_a_sender_is_recorded_by_the_name_of_its_credential(
    door: Door, headers: dict[str, str], source: str
) -> None:
    assert (await door.send(headers=headers)).status == 202
    assert door.intake.accepted[0].source == source


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"X-Nothing": "x"}, id="none"),
        pytest.param({"Authorization": "Bearer "}, id="empty token"),
        pytest.param({"Authorization": "Bearer wrong"}, id="wrong token"),
        pytest.param({"Authorization": "Bearer fïrst"}, id="no ASCII"),
        pytest.param({"Authorization": "Basic !!!"}, id="no base64"),
        pytest.param({"Authorization": "Basic fïrst"}, id="a login that is no ASCII"),
        pytest.param({"Authorization": "Basic " + base64.b64encode(b"am:").decode()}, id="no password"),
        pytest.param({"Authorization": "Basic " + base64.b64encode(b"am:first").decode()}, id="another's secret"),
        pytest.param({"X-Grafana-Alerting-Signature": "00"}, id="a signature without a timestamp"),
    ],
)
async def test_whoever_does_not_prove_who_they_are_is_refused_and_nothing_is_kept(
    door: Door, headers: dict[str, str]
) -> None:
    answer = await door.send(headers=headers)

    assert answer.status == 401
    assert (door.intake.accepted, door.intake.quarantined) == ([], [])


def signed(body: bytes, *, at: int, key: str = "signing") -> dict[str, str]:
    mac = hmac.new(key.encode(), f"{at}:".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Grafana-Alerting-Signature": mac, "X-Grafana-Alerting-Timestamp": str(at)}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param(signed(GRAFANA_BODY, at=int(NOW.timestamp())), 202, id="right"),
        pytest.param(signed(GRAFANA_BODY, at=int(NOW.timestamp()) - 301), 401, id="replayed after five minutes"),
        pytest.param(signed(GRAFANA_BODY, at=int(NOW.timestamp()) + 301), 401, id="from the future"),
        pytest.param(signed(GRAFANA_BODY + b" ", at=int(NOW.timestamp())), 401, id="another body"),
        pytest.param(signed(GRAFANA_BODY, at=int(NOW.timestamp()), key="other"), 401, id="another secret"),
    ],
)
async def test_grafanas_signature_covers_the_body_and_the_moment(
    door: Door, headers: dict[str, str], status: int
) -> None:
    assert (await door.send(GRAFANA_BODY, to="grafana", headers=headers)).status == status


async def test_whoever_has_proven_nothing_yet_has_room_of_their_own(door: Door) -> None:
    """Anybody can write any signature and announce a large body."""
    await door.send()
    await door.send(GRAFANA_BODY, to="grafana", headers=signed(GRAFANA_BODY, at=int(NOW.timestamp())))

    assert door.intake.admitted == ["prod-am", "grafana from 127.0.0.1"]


async def test_a_body_that_cannot_be_read_is_kept_aside_and_answered_400(door: Door) -> None:
    answer = await door.send(b"{not json")

    assert answer.status == 400
    assert answer.content_type == "application/problem+json"
    assert [(source, body) for source, body, _ in door.intake.quarantined] == [("prod-am", b"{not json")]


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Overloaded("full"), id="overloaded"),
        pytest.param(Temporary("gone", system="database", operation="transaction"), id="no database"),
    ],
)
async def test_what_may_work_later_is_503_because_no_sender_retries_429(door: Door, error: Exception) -> None:
    door.intake.fails_with = error

    assert (await door.send()).status == 503
    assert (await door.client.get("/readyz")).status == 503
    assert (await door.client.get("/healthz")).status == 200


async def test_a_bug_of_ours_is_500_without_a_word_of_our_insides(door: Door) -> None:
    door.intake.fails_with = KeyError("secret internals")

    answer = await door.send()

    assert answer.status == 500
    assert "internals" not in await answer.text()


@pytest.mark.parametrize(
    ("to", "body", "status"),
    [
        pytest.param("nagios", BODY, 404, id="unknown source"),
        pytest.param("alertmanager", b"x" * (LIMIT + 1), 413, id="too large"),
        pytest.param("alertmanager", GRAFANA_BODY, 400, id="another source's body"),
    ],
)
async def test_what_can_never_work_is_4xx(door: Door, to: str, body: bytes, status: int) -> None:
    assert (await door.send(body, to=to)).status == status


async def test_what_has_no_route_is_a_problem_document_like_any_other_error(door: Door) -> None:
    nowhere, not_so = await door.client.get("/nowhere%0Aat-all"), await door.client.delete("/webhooks/alertmanager")

    assert (nowhere.status, nowhere.content_type) == (404, "application/problem+json")
    assert (not_so.status, not_so.headers["Allow"]) == (405, "POST, PUT")
    for answer in (nowhere, not_so):
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert (answer.headers["Referrer-Policy"], answer.headers["Cache-Control"]) == ("no-referrer", "no-store")


async def test_a_compressed_body_is_refused_and_never_unpacked(door: Door) -> None:
    answer = await door.send(b"\x1f\x8b" + b"\x00" * 100, headers={**BEARER, "Content-Encoding": "gzip"})

    assert answer.status == 400
    assert door.intake.quarantined == []


async def test_a_large_body_is_parsed_aside(door: Door) -> None:
    async with asyncio.timeout(10):
        answer = await door.send(json.dumps({"version": "4", "alerts": [ALERT] * 1_000}).encode())

    assert (await answer.json())["stored"] == 1_000


async def test_metrics_count_answers_by_source(door: Door) -> None:
    await door.send()
    await door.send(to="nagios")

    text = await (await door.client.get("/metrics")).text()

    assert 'remediator_deliveries_total{answer="202",source="alertmanager"} 1.0' in text
    assert 'remediator_deliveries_total{answer="404",source="unknown"} 1.0' in text


async def test_an_alert_that_cannot_be_read_is_counted_since_its_sender_is_not_told(door: Door) -> None:
    answer = await door.send(json.dumps({"version": "4", "alerts": [ALERT, {**ALERT, "labels": {}}]}).encode())

    assert (answer.status, (await answer.json())["rejected"]) == (202, 1)
    assert 'remediator_alerts_total{filing="rejected"} 1.0' in await (await door.client.get("/metrics")).text()


async def test_a_sender_that_hangs_up_in_the_middle_is_counted_and_is_no_bug_of_ours() -> None:
    """Served as the daemon is: the library's own test server cancels a handler whose caller is gone."""
    intake, metrics, port = FakeIntake(), Metrics(), socket.create_server(("127.0.0.1", 0))

    async def is_admitted() -> bool:
        return bool(intake.admitted)

    async def is_counted() -> bool:
        return b'remediator_deliveries_total{answer="503",source="alertmanager"} 1.0' in metrics.render()

    with capture_logs() as told:
        async with listen(app_of(intake, metrics), port):
            _, writer = await asyncio.open_connection(*port.getsockname())
            writer.write(b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: us\r\nAuthorization: Bearer first\r\n")
            writer.write(b"Content-Length: 1000\r\n\r\n{")
            await eventually(is_admitted)
            writer.close()
            await eventually(is_counted)

    assert told == []
