"""When a message is tried again, and when it is not. The courier's tests have most of it."""

from datetime import timedelta

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
