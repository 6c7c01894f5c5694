"""The log tells whoever runs the daemon what it does: a line for each thing, with incident, rule and target."""

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from remediator.domain.briefing import Briefing
from remediator.domain.errors import NotFound, Permanent
from remediator.domain.ids import IncidentId, RuleName, RuleVersion
from remediator.domain.notification import Notification, NotificationKind
from remediator.domain.oncall import Contact
from remediator.domain.target import Target
from remediator.engine.logbook import tell_of_message
from remediator.store.outbox import OutboxItem

CHAT, MAIL = Contact("chat", "#ops"), Contact("mail", "a@example.invalid")
PAGE = OutboxItem(
    id=1,
    epoch=1,
    attempts=0,
    reach=(CHAT,),
    notification=Notification(IncidentId(7), NotificationKind.PAGE, "7:1:0:alice", "alice", "", "", "down", "sev1", ""),
    about=Briefing(
        IncidentId(7),
        rule=RuleName("service-down"),
        rule_version=RuleVersion("v1"),
        title="down",
        severity="sev1",
        target=Target("deployment", "backend", "prod"),
    ),
)
ERROR = Permanent("it said 500", system="chat", operation="post")


@pytest.mark.parametrize(
    ("item", "result", "error", "level", "event", "then"),
    [
        pytest.param(PAGE, "sent", None, "info", "page sent", None, id="sent"),
        pytest.param(
            replace(PAGE, reach=(CHAT, MAIL)),
            "failed",
            ERROR,
            "warning",
            "page failed on a channel",
            "by mail",
            id="next",
        ),
        pytest.param(
            PAGE, "failed", ERROR, "error", "page reached nobody", "every other channel is tried", id="nobody"
        ),
        pytest.param(PAGE, "retried", ERROR, "warning", "page failed on a channel", "tried again", id="first try"),
        pytest.param(replace(PAGE, attempts=9), "retried", ERROR, "debug", "page not sent", None, id="tenth try"),
        pytest.param(PAGE, "retried", NotFound("elsewhere"), "debug", "page not sent", None, id="for another replica"),
        pytest.param(PAGE, "withdrawn", ERROR, "debug", "page not sent", None, id="withdrawn"),
    ],
)
def test_what_became_of_a_page(
    item: OutboxItem, result: str, error: Exception | None, level: str, event: str, then: str | None
) -> None:
    with capture_logs() as captured:
        tell_of_message(item, result, error)

    [line] = captured
    assert (line["log_level"], line["event"], line.get("then")) == (level, event, then)
    assert (line["incident"], line["rule"], line["target"]) == (7, "service-down", "deployment/prod/backend")
    assert (line["channel"], line["recipient"]) == ("chat", "alice")


def test_the_last_resort_that_gives_up_is_an_error() -> None:
    last = replace(PAGE, notification=replace(PAGE.notification, dedup_key="7:1:0:alice:chat::last-resort"))

    with capture_logs() as captured:
        tell_of_message(last, "failed", ERROR)

    assert [(line["log_level"], line["event"]) for line in captured] == [("error", "page failed on a channel")]
