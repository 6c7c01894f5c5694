"""What a peer's answers are taken for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from remediator.clients.alertmanager import Alertmanager, PeerKind, basic, read_listing, read_mutes
from remediator.clients.http import HttpClient, open_http
from remediator.domain.errors import Permanent, Temporary
from tests.fakes.alertmanager import FakeAlertmanager, fake_alertmanager
from tests.fakes.serving import serving


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with open_http(private_networks=True) as opened:
        yield opened


@pytest.fixture
async def fake() -> AsyncIterator[FakeAlertmanager]:
    async with fake_alertmanager() as started:
        yield started


async def test_a_list_is_read_alert_by_alert(http: HttpClient, fake: FakeAlertmanager) -> None:
    fake.fire(alertname="A", silenced_by="s-1", inhibited_by="beef")
    fake.alerts["odd"] = {"fingerprint": "not hexadecimal", "status": {}, "startsAt": "", "labels": {}}

    sent = await Alertmanager(fake.url, PeerKind.ALERTMANAGER, http).alerts()
    listing = read_listing(sent.body, system="am")

    [alert] = listing.alerts
    assert (alert.suppressed_by, listing.unreadable) == ("silence s-1; inhibition", 1)
    assert (alert.is_routed_to("remediator"), alert.is_routed_to("other")) == (True, False)


@pytest.mark.parametrize(
    ("status", "by", "told"),
    [
        pytest.param("active", {}, "", id="active"),
        pytest.param("unprocessed", {}, "", id="not looked at yet"),
        pytest.param("suppressed", {}, "suppression", id="for no reason given"),
        pytest.param("active", {"mutedBy": []}, "", id="muted or not, in 0.28 and later: the list does not say"),
        pytest.param("active", {"silencedBy": None}, "", id="null for none"),
        pytest.param("suppressed", {"silencedBy": ["b", "a"]}, "silence a, b", id="two silences, in any order"),
        pytest.param("suppressed", {"inhibitedBy": ["beef"]}, "inhibition", id="inhibited, by whatever it names"),
    ],
)
def test_why_an_alert_is_not_notified(status: str, by: dict[str, object], told: str) -> None:
    entry = {"fingerprint": "a", "startsAt": "", "labels": {}, "status": {"state": status} | by}

    [alert] = read_listing(msgspec.json.encode([entry]), system="am").alerts

    assert alert.suppressed_by == told


@pytest.mark.parametrize(
    ("groups", "told"),
    [
        pytest.param([("us", ["nights"])], {"a": "mute time nights"}, id="muted"),
        pytest.param([("us", [])], {"a": ""}, id="not muted"),
        pytest.param([("us", None)], {"a": ""}, id="null for none"),
        pytest.param([("us", ["nights"]), ("us", [])], {"a": ""}, id="by another route it is told"),
        pytest.param([("us", []), ("us", ["nights"])], {"a": ""}, id="by another route it is told, in any order"),
        pytest.param([("us", ["nights"]), ("them", [])], {"a": "mute time nights"}, id="others are told"),
        pytest.param([("them", ["nights"])], {}, id="others are not told"),
        pytest.param([("us", "no such field")], None, id="before 0.28"),
        pytest.param([], {}, id="nothing fires"),
    ],
)
def test_what_a_mute_time_holds_back_only_the_list_of_groups_tells(
    groups: list[tuple[str, object]], told: dict[str, str] | None
) -> None:
    listed = [
        {
            "receiver": {"name": receiver},
            "alerts": [{"fingerprint": "a", "status": {} if by == "no such field" else {"mutedBy": by}}],
        }
        for receiver, by in groups
    ]

    assert read_mutes(msgspec.json.encode(listed), "us", system="am") == told


async def test_groups_are_asked_for_by_the_very_name_of_the_receiver(http: HttpClient, fake: FakeAlertmanager) -> None:
    fake.fire(receiver="team-a.b (pager) & more", muted_by="nights", alertname="A")
    fake.fire(receiver="team-axb (pager) & more", muted_by="nights", alertname="B")
    receiver = "team-a.b (pager) & more"

    body = await Alertmanager(fake.url, PeerKind.ALERTMANAGER, http).groups(receiver)

    assert len(msgspec.json.decode(body)) == 1
    assert list((read_mutes(body, receiver, system="am") or {}).values()) == ["mute time nights"]


@pytest.mark.parametrize(
    "date",
    ["", "yesterday", "Fri, 31 Dec 9999 23:59:59 -1200"],
)
async def test_a_date_that_says_nothing_is_no_date(date: str) -> None:
    async with (
        answering({"Date": date}, b'{"uptime": "2026-03-01T12:00:00Z"}') as url,
        open_http(private_networks=True) as http,
    ):
        peer = Alertmanager(url, PeerKind.ALERTMANAGER, http)

        assert (await peer.alerts()).at is None
        assert (await peer.status()).up_for is None


async def test_how_long_a_peer_is_up_is_told_by_its_own_clock(http: HttpClient, fake: FakeAlertmanager) -> None:
    peer = Alertmanager(fake.url, PeerKind.ALERTMANAGER, http)
    told = (await peer.status()).up_for
    fake.started_at = None
    untold = (await peer.status()).up_for

    assert told is not None
    assert timedelta(minutes=59) < told < timedelta(minutes=61)
    assert untold is None


async def test_a_login_is_sent_and_a_wrong_one_is_told(http: HttpClient, fake: FakeAlertmanager) -> None:
    fake.authorization = basic("me", "secret")

    sent = await Alertmanager(fake.url, PeerKind.ALERTMANAGER, http, basic("me", "secret")).alerts()

    assert sent.body == b"[]"
    with pytest.raises(Permanent, match="another `token` or `basic` login"):
        await Alertmanager(fake.url, PeerKind.ALERTMANAGER, http, basic("me", "wrong")).alerts()


async def test_a_busy_peer_may_answer_later(http: HttpClient, fake: FakeAlertmanager) -> None:
    fake.answers_with = 503

    with pytest.raises(Temporary):
        await Alertmanager(fake.url, PeerKind.ALERTMANAGER, http).alerts()


@asynccontextmanager
async def answering(headers: dict[str, str], body: bytes) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    app = web.Application()
    app.add_routes([web.get("/{path:.*}", answer)])
    async with serving(app) as url:
        yield url


@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:0a', max_size=60).map(str.encode))
def test_whatever_comes_is_a_list_or_refused(body: bytes) -> None:
    try:
        listing = read_listing(body, system="am")
    except Permanent:
        return
    assert len(listing.alerts) + listing.unreadable >= 0


@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:0a', max_size=60).map(str.encode))
def test_whatever_comes_is_a_list_of_groups_or_refused(body: bytes) -> None:
    try:
        mutes = read_mutes(body, "us", system="am")
    except Permanent:
        return
    assert mutes == {}
