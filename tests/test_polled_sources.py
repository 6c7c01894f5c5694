"""What is said of a polled source before anything runs."""

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from remediator.app import polled_sources
from remediator.connections import connect
from remediator.settings import PolledSource, Settings


@pytest.mark.parametrize("host", ["alertmanager..svc", ".svc", f"{'a' * 64}.svc"])
def test_a_peer_whose_name_no_host_can_have_is_refused(host: str) -> None:
    with pytest.raises(ValidationError, match=r"is no host: between its dots stand 1 to 63 characters each"):
        PolledSource(peers=[f"http://{host}:9093"])


@pytest.mark.parametrize("host", ["alertmanager.svc.", "localhost", "10.0.0.1", "[fd00::1]", f"{'a' * 63}.svc"])
def test_any_other_may_be_one(host: str) -> None:
    assert PolledSource(peers=[f"http://{host}:9093"]).peers == [f"http://{host}:9093"]


@pytest.mark.parametrize(
    ("webhooks", "name", "warned"),
    [
        pytest.param({"tokens": {"prod": ["t"]}}, "prod", False, id="its token has the same name"),
        pytest.param({"tokens": {"prod": ["t"]}}, "alertmanager", True, id="its token has another name"),
        pytest.param({"allow_unauthenticated": True}, "alertmanager", False, id="without a login, by the path"),
        pytest.param({"allow_unauthenticated": True}, "prod", True, id="without a login, by another name"),
        pytest.param({"allow_unauthenticated": True}, "grafana", True, id="without a login, by another path"),
        pytest.param(
            {"allow_unauthenticated": True, "tokens": {"prod": ["t"]}}, "prod", False, id="by a login all the same"
        ),
    ],
)
async def test_a_source_whose_webhooks_come_under_another_name_is_warned_of(
    webhooks: dict[str, object], name: str, warned: bool
) -> None:
    """Each of its alerts would be two."""
    peer = {"peers": ["http://127.0.0.1:9093"]}
    settings = Settings.model_validate({"webhooks": webhooks, "sources": {name: peer}})

    async with connect(settings) as connections:
        with capture_logs() as logged:
            polled_sources(settings, connections)

    assert [line["source"] for line in logged] == ([name] if warned else [])
