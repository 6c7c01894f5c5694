"""`remediator sources check`, on a file and on peers at the wire."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from remediator.cli import main
from remediator.senders.recommended import recommended
from tests.fakes.alertmanager import FakeAlertmanager, fake_alertmanager

OK, FAILURE, SETTINGS, FINDINGS = 0, 1, 2, 3
SOUND = recommended("remediator", "https://remediator.example.com")

POLLING = {
    "REMEDIATOR_PUBLIC_URL": "https://remediator.example.com",
    "REMEDIATOR_SOURCES": '{"am": {"peers": ["http://am-0:9093"]}}',
}


def check(*arguments: str, environment: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(main, ["sources", "check", *arguments], env=environment)


def test_a_sound_file_passes_and_the_route_is_printed(tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(SOUND)

    result = check("--file", str(file), environment=POLLING)

    assert result.exit_code == OK, result.output
    assert "nothing to complain of" in result.output
    assert SOUND in result.output


@pytest.mark.parametrize(
    ("environment", "is_told"),
    [
        pytest.param({}, True, id="settings that poll nobody"),
        pytest.param(POLLING, False, id="settings that poll it"),
        pytest.param(
            {"REMEDIATOR_SOURCES": '{"am": {"peers": ["http://am-0:9093"], "receiver": "other"}}'},
            True,
            id="settings that poll for another receiver",
        ),
    ],
)
def test_whether_polling_is_necessary_is_told_by_the_settings(
    tmp_path: Path, environment: dict[str, str], is_told: bool
) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(SOUND)

    result = check("--file", str(file), environment=environment)

    assert result.exit_code == OK, result.output
    assert (f"{file}:8:24: warning: repeat_interval is 1h, and the settings do not poll" in result.output) is is_told


def test_a_file_with_errors_ends_with_3_and_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    file.write_text(SOUND.replace("send_resolved: true", "send_resolved: false"))

    text, document = (check("--file", str(file), *how, environment=POLLING) for how in ((), ("-o", "json")))

    assert (text.exit_code, document.exit_code) == (FINDINGS, FINDINGS)
    assert f"{file}:13:24: error: resolved alerts are not sent" in text.output
    [source] = json.loads(document.output)["sources"]
    assert [(problem["line"], problem["severity"]) for problem in source["problems"]] == [(13, "error")]


def test_without_peers_and_without_a_file_there_is_nothing_to_check() -> None:
    result = check()

    assert result.exit_code == SETTINGS
    assert "no source is polled" in result.output


async def check_peers(*peers: FakeAlertmanager, kind: str = "alertmanager", **source: str) -> Result:
    """In a thread: the command runs a loop of its own, and ours serves the peers."""
    settings = {"am": {"kind": kind, "peers": [peer.url for peer in peers], **source}}
    return await asyncio.to_thread(check, environment={"REMEDIATOR_SOURCES": json.dumps(settings)})


async def test_every_peer_is_asked_with_its_login() -> None:
    async with fake_alertmanager() as sound, fake_alertmanager() as wrong:
        sound.config, wrong.config = SOUND, SOUND.replace("group_interval: 1m", "group_interval: 10m")
        sound.authorization = wrong.authorization = "Bearer t0ken"

        refused = await check_peers(sound, wrong)
        result = await check_peers(sound, wrong, token="t0ken")

    assert (refused.exit_code, result.exit_code) == (FAILURE, FINDINGS)
    assert "another `token` or `basic` login" in refused.output
    assert f"{sound.url}: nothing to complain of" in result.output
    assert f"{wrong.url}:7:23: error: group_interval is 10m" in result.output


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        pytest.param(302, "redirects are not followed; it points to https://elsewhere/", id="a-redirect"),
        pytest.param(404, "is this its base URL, and its kind?", id="not-found"),
        pytest.param(503, "answered 503", id="busy"),
    ],
)
async def test_a_peer_that_does_not_tell_is_no_clean_bill(status: int, advice: str) -> None:
    async with fake_alertmanager() as peer:
        peer.answers_with = status

        result = await check_peers(peer)

    assert result.exit_code == FAILURE
    assert advice in result.output


async def test_what_grafana_does_not_tell_is_said_and_not_guessed() -> None:
    async with fake_alertmanager(grafana=True) as peer:
        result = await check_peers(peer, kind="grafana")

    assert result.exit_code == OK
    assert "not checked: everything" in result.output


GRAFANAS = {
    "route": {"receiver": "remediator", "group_wait": "5s", "group_interval": "1m", "repeat_interval": "1h"},
    "receivers": [{"name": "remediator", "grafana_managed_receiver_configs": [{"type": "email", "settings": {}}]}],
}


async def test_grafana_gets_a_text_of_its_own_to_use() -> None:
    async with fake_alertmanager(grafana=True) as peer:
        peer.config = json.dumps(GRAFANAS)

        result = await check_peers(peer, kind="grafana")

    assert result.exit_code == FINDINGS
    assert "the contact point 'remediator' has no webhook" in result.output
    assert "/webhooks/grafana" in result.output
    assert "timestampHeader: X-Grafana-Alerting-Timestamp" in result.output
    assert "webhook_configs" not in result.output


async def test_each_kind_of_sender_gets_its_text_once() -> None:
    async with fake_alertmanager() as one, fake_alertmanager() as two, fake_alertmanager(grafana=True) as grafana:
        one.config = two.config = SOUND
        sources = {"am": {"peers": [one.url, two.url]}, "grafana": {"kind": "grafana", "peers": [grafana.url]}}
        environment = {"REMEDIATOR_SOURCES": json.dumps(sources)}
        document = await asyncio.to_thread(check, "-o", "json", environment=environment)

    recommended_texts = json.loads(document.output)["recommended"]
    assert ["/webhooks/grafana" in text for text in recommended_texts] == [False, True]


async def test_the_settings_say_in_which_header_a_timestamp_comes() -> None:
    """Where they look for it in another one than Grafana sends it in, every delivery would be refused."""
    signed = {"header": "X-Grafana-Alerting-Signature", "timestampHeader": "X-Grafana-Alerting-Timestamp"}
    point = {"type": "webhook", "settings": {"hmacConfig": signed}}
    webhooks = {"grafana": {"g": {"secrets": ["s3cret"], "timestamp_header": "X-Stamp"}}}
    async with fake_alertmanager(grafana=True) as peer:
        peer.config = json.dumps(
            {**GRAFANAS, "receivers": [{"name": "remediator", "grafana_managed_receiver_configs": [point]}]}
        )
        environment = {
            "REMEDIATOR_SOURCES": json.dumps({"grafana": {"kind": "grafana", "peers": [peer.url]}}),
            "REMEDIATOR_WEBHOOKS": json.dumps(webhooks),
        }
        result = await asyncio.to_thread(check, environment=environment)

    assert result.exit_code == FINDINGS
    assert "the settings look for it in X-Stamp" in result.output
    assert "timestampHeader: X-Stamp" in result.output


async def test_a_running_alertmanager_that_blanks_its_url_is_told_what_was_not_checked_and_nothing_worse() -> None:
    """The login may be in the URL."""
    async with fake_alertmanager() as peer:
        peer.config = SOUND.replace("https://remediator.example.com/webhooks/alertmanager", "<secret>").replace(
            "authorization", "proxy_headers"
        )

        result = await check_peers(peer)

    assert result.exit_code == OK, result.output
    assert f"{peer.url}:12:9: note: not checked: whether its URL, which is blanked, ends in" in result.output
    assert "and whether a login is in it" in result.output
    assert f"{peer.url}: nothing to complain of" in result.output


def test_whoever_is_polled_for_any_receiver_is_known_as_polled(tmp_path: Path) -> None:
    file = tmp_path / "alertmanager.yml"
    second = "    - { receiver: second }\nreceivers:"
    file.write_text(
        SOUND.replace("receivers:", second)
        + "  - name: second\n    webhook_configs:\n"
        + "      - { url: 'https://x:y@remediator/webhooks/alertmanager', timeout: 9s }\n"
    )
    both = {"am": {"peers": ["http://am-0:9093"]}, "am-second": {"peers": ["http://am-0:9093"], "receiver": "second"}}

    one, all_of_them = (
        check("--file", str(file), environment=environment)
        for environment in (POLLING, {"REMEDIATOR_SOURCES": json.dumps(both)})
    )

    assert "the settings do not poll for 'second'" in one.output
    assert "the settings do not poll" not in all_of_them.output
