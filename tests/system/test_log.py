"""The log tells what the daemon does of itself, incident by incident, and nothing of each alert."""

from collections.abc import Sequence
from typing import Any

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from tests.fakes.kubernetes import FakeCluster, Fault
from tests.system.conftest import SettingsOf
from tests.system.daemon import running, told

ALERT = {"alertname": "ServiceDown", "namespace": "prod", "deployment": "backend"}


def said_of(incident: int, lines: Sequence[Any]) -> list[Any]:
    return [each for each in lines if each.get("incident") == incident and each["log_level"] != "debug"]


async def test_a_fix_is_told_from_the_opening_to_the_end(settings_of: SettingsOf, fake_cluster: FakeCluster) -> None:
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.break_until_restarted("prod", "backend", pods=1)

    with capture_logs(processors=[merge_contextvars]) as lines:
        async with running(settings_of()) as (_, client):
            for _ in range(5):
                await client.alert(**ALERT)
            await client.until(1, lambda seen: seen["status"] == "resolved")

    said = said_of(1, lines)
    assert [line["event"] for line in said] == ["incident opened", "fix begun", "fix ended", "incident closed"]
    assert {(line["rule"], line["target"]) for line in said} == {("service-down", "deployment/prod/backend")}
    assert said[2]["result"] == "done"


async def test_a_page_and_the_handing_over_are_told(settings_of: SettingsOf, fake_cluster: FakeCluster) -> None:
    fake_cluster.deploy("prod", "backend", replicas=3)
    fake_cluster.break_pods("prod", "backend", reason=Fault.CRASHING)

    with capture_logs(processors=[merge_contextvars]) as lines:
        async with running(settings_of()) as (_, client):
            await client.alert(**ALERT)
            await client.until(
                1, lambda seen: any("sent to alice" in line for line in told(seen)) and seen["phase"] == "handed_over"
            )
            await client.post("/api/v1/incidents/1/resolve", {"note": "by hand"})

    said = said_of(1, lines)
    page = next(line for line in said if line["event"] == "page sent")
    assert (page["recipient"], page["channel"], page["rule"]) == ("alice", "console", "service-down")
    assert [line["event"] for line in said if line["event"].startswith("incident")] == [
        "incident opened",
        "incident handed over",
        "incident changed by a person",
    ]


@pytest.mark.parametrize(
    ("channel", "lacks"),
    [
        pytest.param("{ use: slack }", "secrets.slack_token", id="a token"),
        pytest.param("{ use: email }", "smtp.host", id="a mail server"),
    ],
)
async def test_a_channel_that_cannot_send_is_told_at_the_start(
    settings_of: SettingsOf, channel: str, lacks: str
) -> None:
    settings = settings_of(oncall__channels=f"channels: {{ console: {{ use: console }}, chat: {channel} }}")

    with capture_logs() as lines:
        async with running(settings):
            pass

    [told_of] = [line for line in lines if line["event"].startswith("channel cannot send")]
    assert (told_of["log_level"], told_of["channel"]) == ("warning", "chat")
    assert lacks in told_of["lacks"][0]
