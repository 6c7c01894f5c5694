"""The pages' door: a login or a signed link, and nothing that a stranger writes is worth a traceback."""

import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from remediator.domain.ids import IncidentId, RuleName, RuleVersion
from remediator.domain.incident import Incident
from remediator.domain.notification import Notification, NotificationKind, Receipt
from remediator.domain.oncall import Contact
from remediator.domain.timeline import Entry, EntryKind
from remediator.engine.bell import Bell
from remediator.engine.guidance import GuidanceReader
from remediator.engine.links import Links
from remediator.engine.pages import PageWriter
from remediator.engine.respond import Responder
from remediator.rules.loader import load_rules
from remediator.settings import ApiToken
from remediator.store import outbox, rule_versions, timeline
from remediator.store.database import Database
from remediator.store.outbox import Outgoing
from remediator.web.api import Api
from remediator.web.auth import ApiGate
from remediator.web.pages import Pages
from remediator.web.server import make_app
from tests.rules.folder import write_rules
from tests.store.facts import LEASE, alert, claimed, file

Client = TestClient[web.Request, web.Application]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LINKS = Links(b"secret", lambda: NOW)
TOKENS = {
    "reader": {"token": "reads", "roles": ["read"]},
    "responder": {"token": "responds", "roles": ["respond"]},
    "everybody": {"token": "does-all", "roles": ["read", "respond", "approve"]},
}


def logged_in(token: str) -> Mapping[str, str]:
    return {"Authorization": aiohttp.encode_basic_auth("anybody", token)}


@pytest.fixture
async def client(database: Database, tmp_path: Path) -> AsyncIterator[Client]:
    gate = ApiGate({name: ApiToken.model_validate(token) for name, token in TOKENS.items()})
    responder = Responder(database, PageWriter("https://remediator.example.invalid", LINKS), Bell())
    rulebook = load_rules(write_rules(tmp_path)).rulebook
    guidance = GuidanceReader(database, lambda: rulebook)
    pages = Pages(database, responder, links=LINKS, guidance=guidance, gate=gate)
    api = Api(database, responder, guidance=guidance, gate=gate)
    async with TestClient(TestServer(make_app(pages, api, body_limit=1 << 20))) as made:
        yield made


@pytest.mark.parametrize(
    ("token", "status"),
    [("reads", 200), ("does-all", 200), ("responds", 403), ("wrong", 401), ("", 401)],
)
async def test_reading_takes_the_role_read(client: Client, token: str, status: int) -> None:
    async with client.get("/incidents", headers=logged_in(token)) as answer:
        assert answer.status == status


@pytest.mark.parametrize("what", ["acknowledge", "resolve", "approve"])
async def test_a_login_that_a_browser_adds_by_itself_changes_nothing(client: Client, what: str) -> None:
    """Another site can have the browser send a form, and the login goes with it."""
    async with client.post(f"/api/v1/incidents/1/{what}", headers=logged_in("does-all")) as answer:
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    "token",
    [
        pytest.param("", id="none"),
        pytest.param(LINKS.sign(IncidentId(2), "alice"), id="another incident's"),
        pytest.param(f"{'9' * 5_000}.alice.00", id="more digits than a number may have"),
        pytest.param("\u0661\u0662.alice.00", id="digits of another script"),
    ],
)
async def test_a_link_that_nobody_signed_is_refused(client: Client, token: str) -> None:
    path = "/incidents/1/acknowledge"
    async with client.get(path, params={"token": token}) as asked, client.post(path, params={"token": token}) as sent:
        assert (asked.status, sent.status) == (403, 403)


async def test_a_page_has_the_latest_of_a_timeline_that_thousands_have_joined(
    client: Client, database: Database
) -> None:
    incident = await claimed(database)
    entries = [(incident.id, Entry(EntryKind.ALERT, f"alert {number} of many")) for number in range(2_000)]
    async with database.transaction() as tx:
        await timeline.append(tx, entries)

    async with client.get(f"/incidents/{incident.id}", headers=logged_in("reads")) as answer:
        page = await answer.text()

    assert ("alert 1999 of many" in page, "alert 1400 of many" in page) == (True, False)
    assert "The latest 500 entries" in page


SAID = {
    "summary": "Five percent <b>fail</b>.",
    "links": {"Errors & more": "https://grafana.example.invalid/d?a=1&b=2", "Bad": "javascript:alert(1)"},
}


async def began_with(database: Database, document: Mapping[str, object]) -> Incident:
    async with database.transaction() as tx:
        await rule_versions.save(tx, [(RuleVersion("v1"), RuleName("service-down"), document)])
    return await claimed(database)


async def test_a_page_shows_what_the_rule_says_and_where_to_look(client: Client, database: Database) -> None:
    """The other site is not told the address: whoever has that can acknowledge."""
    incident = await began_with(database, SAID)
    token = {"token": LINKS.sign(incident.id, "alice")}

    async with client.get(f"/incidents/{incident.id}/acknowledge", params=token) as answer:
        page = await answer.text()

    assert "Five percent &lt;b&gt;fail&lt;/b&gt;." in page
    link = '<a href="https://grafana.example.invalid/d?a=1&amp;b=2" rel="noreferrer">Errors &amp; more</a>'
    assert link in page
    assert "javascript:" not in page


async def test_a_page_says_what_the_severity_means(client: Client, database: Database) -> None:
    incident = await claimed(database)
    defined = """UPDATE escalations SET severity = severity || '{"definition": "Nobody <i>can</i> buy."}'"""
    async with database.transaction() as tx:
        await tx.execute(defined)

    async with client.get(f"/incidents/{incident.id}", headers=logged_in("reads")) as answer:
        page = await answer.text()

    assert "severity sev1 (Critical: Nobody &lt;i&gt;can&lt;/i&gt; buy.)," in page


@pytest.mark.parametrize(
    "spoil", ["UPDATE escalations SET severity = '{}'", "DELETE FROM escalations", "DROP TABLE rule_versions"]
)
async def test_a_page_goes_without_what_cannot_be_read_of_rule_and_severity(
    client: Client, database: Database, spoil: str
) -> None:
    incident = await began_with(database, SAID)
    async with database.transaction() as tx:
        await tx.execute(spoil)

    async with client.get(f"/incidents/{incident.id}", headers=logged_in("reads")) as answer:
        assert (answer.status, "severity sev1" in await answer.text()) == (200, True)


async def test_programs_see_what_the_rule_says(client: Client, database: Database) -> None:
    incident = await began_with(database, SAID)

    async with client.get(f"/api/v1/incidents/{incident.id}", headers={"Authorization": "Bearer reads"}) as answer:
        told = await answer.json()

    assert told["summary"] == SAID["summary"]
    assert told["links"] == {"Errors & more": "https://grafana.example.invalid/d?a=1&b=2"}


SPOILED = pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(
            """UPDATE incidents SET progress = '{"attempts": [{"step": 0, "result": "novel"}]}'""", id="its progress"
        ),
        pytest.param("UPDATE incidents SET alert = '{}', target = '[]', progress = '[]'", id="nothing of it"),
    ],
)


@SPOILED
async def test_what_cannot_be_read_is_listed_and_nothing_of_it_is_approved(
    client: Client, database: Database, spoil: str
) -> None:
    incident = await claimed(database)
    async with database.transaction() as tx:
        await tx.execute(spoil)
    approve, bearer = f"/api/v1/incidents/{incident.id}/approve", {"Authorization": "Bearer does-all"}

    async with (
        client.get("/api/v1/incidents", headers=bearer) as listed,
        client.get("/incidents", headers=bearer) as page,
    ):
        assert [one["id"] for one in (await listed.json())["incidents"]] == [incident.id]
        assert f"/incidents/{incident.id}" in await page.text()
    async with client.post(approve, headers=bearer, json={"plan": "0"}) as refused:
        assert (refused.status, "cannot be read by this release" in await refused.text()) == (409, True)


@SPOILED
async def test_people_can_stop_what_cannot_be_read(client: Client, database: Database, spoil: str) -> None:
    """Another release stored it, say. It paged for ever."""
    incident = await claimed(database)
    async with database.transaction() as tx:
        await outbox.enqueue(tx, [paged(incident)])
        [item] = await outbox.claim(tx, lease=LEASE, limit=1)
        await outbox.sent(tx, [(item, Receipt())])
        await tx.execute(spoil)
    link, api = f"/incidents/{incident.id}/acknowledge", f"/api/v1/incidents/{incident.id}"
    token, bearer = {"token": LINKS.sign(incident.id, "alice")}, {"Authorization": "Bearer does-all"}

    async with client.get(link, params=token) as asked, client.post(link, params=token) as pressed:
        offered, confirmed = await asked.text(), await pressed.text()
    async with client.get(api, headers=bearer) as acknowledged:
        held = await acknowledged.json()
    async with client.post(f"{api}/acknowledge", headers=bearer) as again:
        assert again.status == 200
    async with client.post(f"{api}/resolve", headers=bearer) as resolved:
        over = await resolved.json()

    assert "<button>Acknowledge</button>" in offered
    assert "The escalation has stopped" in confirmed
    assert (held["status"], held["acknowledged_by"], over["status"]) == ("acknowledged", "alice", "resolved")
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT due_at FROM escalations") is None
        notices = await connection.fetch("SELECT recipient FROM outbox WHERE kind = 'resolved'")
    assert [notice["recipient"] for notice in notices] == ["alice"]


def paged(incident: Incident) -> Outgoing:
    note = Notification(incident.id, NotificationKind.PAGE, "1:1:0:alice", "alice", "", "", "down", "sev1", "")
    return Outgoing(note, (Contact("console", ""),), incident.rule)


async def test_whoever_acknowledges_what_is_over_is_told_by_whom(client: Client, database: Database) -> None:
    incident = await claimed(database)
    api, bearer = f"/api/v1/incidents/{incident.id}", {"Authorization": "Bearer does-all"}
    async with client.post(f"{api}/resolve", headers=bearer, json={"note": "by hand"}) as resolved:
        assert resolved.status == 200

    link, token = f"/incidents/{incident.id}/acknowledge", {"token": LINKS.sign(incident.id, "alice")}
    async with client.post(link, params=token) as pressed, client.post(f"{api}/acknowledge", headers=bearer) as called:
        page, problem = await pressed.text(), await called.json()

    assert (pressed.status, called.status) == (409, 409)
    assert "Not acknowledged: it is over (resolved by everybody: by hand)" in page
    assert "The escalation has stopped" not in page
    assert problem["detail"] == (
        f"incident {incident.id} is over (resolved by everybody: by hand): there is nothing to acknowledge"
    )


async def test_who_acknowledged_and_who_resolved_are_two_sentences(client: Client, database: Database) -> None:
    incident = await claimed(database)
    async with database.transaction() as tx:
        await tx.execute("UPDATE incidents SET acknowledged_by = 'owner', resolution = 'resolved by owner'")

    async with client.get(f"/incidents/{incident.id}", headers=logged_in("reads")) as answer:
        text = " ".join((await answer.text()).split())

    assert "Acknowledged by owner. resolved by owner." in text


async def test_a_timeline_tells_the_day_where_another_begins(client: Client, database: Database) -> None:
    incident = await claimed(database)
    async with database.transaction() as tx:
        await tx.execute("DELETE FROM timeline")
        for at in ("2026-03-01 23:59:58", "2026-03-01 23:59:59.5", "2026-03-02 00:00:01"):
            await tx.execute(
                """INSERT INTO timeline (incident_id, kind, path, message, data, at)
                   VALUES ($1, 'note', '', 'm', '{}', $2)""",
                incident.id,
                datetime.fromisoformat(at).replace(tzinfo=UTC),
            )

    async with client.get(f"/incidents/{incident.id}", headers=logged_in("reads")) as answer:
        page = await answer.text()

    times = re.findall(r'<time datetime="([^"]+)">([^<]+)</time>( UTC)?', page)
    assert [(shown, zone.strip()) for _, shown, zone in times] == [
        ("2026-03-01", "UTC"),
        ("23:59:58", ""),
        ("23:59:59", ""),
        ("2026-03-02", "UTC"),
        ("00:00:01", ""),
    ]
    assert all(datetime.fromisoformat(stated) for stated, _, _ in times)


async def test_a_label_hides_nothing_and_turns_nothing_around(client: Client, database: Database) -> None:
    hostile = {
        "alertname": "Down\u202ednuor",
        "in\x1b[31mred": "a\x00b\u2066<b>",
        "fine": "caf\u00e9 \u65e5\u672c \u200d",
    }
    await file(database, alert(labels=hostile))

    async with client.get("/incidents/1", headers=logged_in("reads")) as answer:
        page = await answer.text()

    assert not set(page) & set("\x00\x1b\u202e\u2066")
    assert "<dd>Down\\u202ednuor</dd>" in page
    assert "<dt>in\\x1b[31mred</dt>" in page
    assert "&lt;b&gt;</dd>" in page
    assert "caf\u00e9 \u65e5\u672c \u200d" in page


@pytest.mark.parametrize("path", ["abc", "7x", "9" * 30, "abc/acknowledge", "%3Cb%3E"])
async def test_a_person_who_mistypes_an_address_sees_a_page(client: Client, path: str) -> None:
    async with client.get(f"/incidents/{path}") as answer:
        assert (answer.status, answer.content_type) == (404, "text/html")
        assert "No such incident" in await answer.text()


async def test_a_slash_at_the_end_leads_to_the_incidents(client: Client) -> None:
    async with client.get("/incidents/", headers=logged_in("reads")) as answer:
        assert (answer.status, answer.url.path) == (200, "/incidents")


async def test_a_wrong_token_is_told_from_none(client: Client) -> None:
    path = "/api/v1/incidents"
    async with client.get(path) as without, client.get(path, headers={"Authorization": "Bearer x"}) as wrong:
        told = [(await each.json())["detail"] for each in (without, wrong)]

    assert told[0].startswith("an API token is needed")
    assert told[1].startswith("this API token is not known here")
