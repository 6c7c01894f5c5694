"""What a peer's answers are taken for."""

from collections.abc import AsyncIterator
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.clients.alertmanager import Alertmanager, PeerKind, basic, read_listing
from remediator.clients.http import HttpClient, open_http
from remediator.domain.errors import Permanent, Temporary
from tests.fakes.alertmanager import FakeAlertmanager, fake_alertmanager


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

    listing = read_listing(await Alertmanager(fake.url, PeerKind.ALERTMANAGER, http).alerts(), system="am")

    [alert] = listing.alerts
    assert (alert.suppressed_by, listing.unreadable) == ("silence s-1; inhibition by beef", 1)
    assert (alert.is_routed_to("remediator"), alert.is_routed_to("other")) == (True, False)


@pytest.mark.parametrize(
    ("status", "by", "told"),
    [
        pytest.param("active", {}, "", id="active"),
        pytest.param("unprocessed", {}, "", id="not looked at yet"),
        pytest.param("suppressed", {}, "suppression", id="for no reason given"),
        pytest.param("suppressed", {"mutedBy": ["nights"]}, "mute time nights", id="0.28 and later"),
        pytest.param("active", {"silencedBy": None}, "", id="null for none"),
    ],
)
def test_why_an_alert_is_not_notified(status: str, by: dict[str, object], told: str) -> None:
    entry = {"fingerprint": "a", "startsAt": "", "labels": {}, "status": {"state": status} | by}

    [alert] = read_listing(msgspec.json.encode([entry]), system="am").alerts

    assert alert.suppressed_by == told


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

    assert await Alertmanager(fake.url, PeerKind.ALERTMANAGER, http, basic("me", "secret")).alerts() == b"[]"
    with pytest.raises(Permanent, match="another `token` or `basic` login"):
        await Alertmanager(fake.url, PeerKind.ALERTMANAGER, http, basic("me", "wrong")).alerts()


async def test_a_busy_peer_may_answer_later(http: HttpClient, fake: FakeAlertmanager) -> None:
    fake.answers_with = 503

    with pytest.raises(Temporary):
        await Alertmanager(fake.url, PeerKind.ALERTMANAGER, http).alerts()


@given(st.binary(max_size=200) | st.text(alphabet='[]{}",:0a', max_size=60).map(str.encode))
def test_whatever_comes_is_a_list_or_refused(body: bytes) -> None:
    try:
        listing = read_listing(body, system="am")
    except Permanent:
        return
    assert len(listing.alerts) + listing.unreadable >= 0
