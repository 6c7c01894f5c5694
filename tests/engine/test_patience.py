"""When a message is tried again, and when it is not. The courier's tests have most of it."""

from datetime import timedelta

import msgspec
import pytest

from remediator.domain.errors import Temporary
from remediator.domain.ids import IncidentId
from remediator.domain.notification import Notification, NotificationKind
from remediator.domain.oncall import Contact
from remediator.engine.patience import retry_in
from remediator.store.outbox import OutboxItem

BUSY = Temporary("busy", system="chat", operation="post")
NOTE = Notification(IncidentId(1), NotificationKind.PAGE, "1:chat::last-resort", "alice", "", "", "down", "sev1", "")


@pytest.mark.parametrize(("attempts", "is_tried_again"), [(0, True), (1, True), (2, False)])
def test_one_that_lay_for_days_without_a_daemon_is_not_given_up_for_its_age_alone(
    attempts: int, *, is_tried_again: bool
) -> None:
    item = OutboxItem(1, 1, attempts, (Contact("chat", ""),), NOTE, age=timedelta(days=3))

    assert (retry_in(item, BUSY) is not None) == is_tried_again


def test_a_page_to_whoever_is_called_last_resort_is_not_its_own_last_resort() -> None:
    named = msgspec.structs.replace(NOTE, dedup_key="1:1:0:last-resort")

    assert not OutboxItem(1, 1, 0, (Contact("last-resort", ""),), named).is_last_resort
