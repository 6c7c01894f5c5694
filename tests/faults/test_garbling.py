"""What the fault run sends broken is broken where it says, and only there."""

import json
from datetime import UTC, datetime
from random import Random

import pytest

from remediator.domain.alert import Delivery
from remediator.domain.errors import BadPayload
from remediator.domain.ids import SourceName
from remediator.sources.alertmanager import Alertmanager
from tests.fakes.alertmanager_peers import Told
from tests.faults.evidence import Sent
from tests.faults.garbling import garbled
from tests.faults.scenario import Garbling

WHOLE = list(Garbling)[:6]
NEIGHBOURS = [Told(f"f{number}", {"alertname": "A"}, datetime(2026, 3, 1, tzinfo=UTC), None) for number in range(2)]


def sent(what: Garbling) -> Sent:
    return garbled(what, NEIGHBOURS, number=17, random=Random(1))  # noqa: S311  # repeatable, guards nothing


def read(body: bytes) -> Delivery:
    return Alertmanager().parse(body, {}, SourceName("crowd"))


@pytest.mark.parametrize("what", WHOLE)
def test_where_nothing_of_it_can_be_read_it_is_all_of_it_that_cannot(what: Garbling) -> None:
    unread = sent(what)

    with pytest.raises(BadPayload):
        read(unread.body)
    assert [(broken.position, broken.raw) for broken in unread.broken] == [(-1, unread.body)]
    assert unread.promised == 400


@pytest.mark.parametrize("what", [what for what in Garbling if what not in WHOLE])
def test_where_a_part_of_it_cannot_be_read_its_neighbours_can(what: Garbling) -> None:
    in_part = sent(what)

    delivery = read(in_part.body)

    assert [alert.fingerprint for alert in delivery.alerts] == list(in_part.unwanted) == ["f0", "f1"]
    rejected = [(rejected.position, rejected.raw) for rejected in delivery.rejected]
    assert rejected == [(broken.position, broken.raw) for broken in in_part.broken]
    assert in_part.promised == 202


@pytest.mark.parametrize("what", [Garbling.HALF_A_CHARACTER, Garbling.NO_UTF8])
def test_what_is_mended_was_broken(what: Garbling) -> None:
    """It is no text that anybody could write down again."""
    with pytest.raises(UnicodeError):
        json.dumps(json.loads(sent(what).body), ensure_ascii=False).encode()
