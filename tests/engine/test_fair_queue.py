"""Sources take turns; nothing is lost or doubled."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediator.domain.alert import Alert, AlertStatus, Delivery
from remediator.domain.ids import Fingerprint, SourceName
from remediator.engine.fair_queue import MOST_ALERTS_A_BATCH, FairQueue, Part, Waiting

LOOP = asyncio.new_event_loop()


@pytest.fixture(scope="module", autouse=True)
def _closed() -> Iterator[None]:
    yield
    LOOP.close()


def delivery(source: str, alerts: int) -> Delivery:
    made = Alert(
        SourceName(source), Fingerprint("f"), AlertStatus.FIRING, {"alertname": "A"}, datetime(2026, 1, 1, tzinfo=UTC)
    )
    return Delivery(SourceName(source), b"{}", (made,) * alerts)


def waiting(source: str, alerts: int, *, since: float = 0) -> Waiting:
    return Waiting(delivery(source, alerts), LOOP.create_future(), since)


def queue_of(*those: Waiting) -> FairQueue:
    queue = FairQueue()
    for one in those:
        queue.put(one)
    return queue


def taken(queue: FairQueue, *, among: int = 1) -> list[list[Part]]:
    batches = []
    while queue:
        batches.append(queue.take(among=among))
    return batches


def test_one_alert_of_a_quiet_source_is_in_the_first_batch_of_a_flood() -> None:
    quiet = waiting("quiet", 1)
    flood = [waiting("flood", 10) for _ in range(1_000)]

    first = queue_of(*flood, quiet).take()

    assert any(part.waiting is quiet for part in first)


def test_a_big_delivery_is_filed_in_parts_and_others_come_between() -> None:
    big, small = waiting("big", 2_500), waiting("small", 1)

    batches = taken(queue_of(big, small))

    parts = [part for batch in batches for part in batch if part.waiting is big]
    assert [len(part.alerts) for part in parts] == [1_000, 999, 501]
    assert [part.is_first for part in parts] == [True, False, False]
    assert [index for index, batch in enumerate(batches) for part in batch if part.waiting is small] == [1]


def test_the_oldest_is_whoever_waits_longest_of_all_sources() -> None:
    queue = queue_of(waiting("a", 1, since=5), waiting("b", 1, since=3), waiting("a", 1, since=7))

    assert queue.oldest == 3
    assert FairQueue().oldest is None


def test_an_emptied_queue_gives_back_everybody() -> None:
    those = [waiting("a", 1), waiting("b", 3_000), waiting("a", 0)]
    queue = queue_of(*those)

    assert queue.alerts == 3_001
    assert {id(one) for one in queue.empty()} == {id(one) for one in those}
    assert (bool(queue), queue.alerts) == (False, 0)


@pytest.mark.parametrize(
    ("deliveries", "alerts", "among", "batches"),
    [
        pytest.param(16, 1, 4, [16], id="few are one batch"),
        pytest.param(8, 100, 1, [800], id="all that waits"),
        pytest.param(8, 100, 4, [200, 200, 200, 200], id="a share of it"),
        pytest.param(20, 60, 4, [300, 240, 240, 240, 180], id="of whole deliveries"),
        pytest.param(2, 5_000, 4, [1_000] * 10, id="no more than a batch may hold"),
    ],
)
def test_a_crowd_is_taken_in_shares(deliveries: int, alerts: int, among: int, batches: list[int]) -> None:
    queue = queue_of(*(waiting("am", alerts) for _ in range(deliveries)))

    assert [sum(len(part.alerts) for part in batch) for batch in taken(queue, among=among)] == batches


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2_500)), max_size=12), st.integers(1, 4))
def test_every_alert_is_taken_once_in_the_order_of_its_source(sizes: list[tuple[str, int]], among: int) -> None:
    those = [waiting(source, alerts) for source, alerts in sizes]

    queue = queue_of(*those)
    batches = taken(queue, among=among)

    assert queue.alerts == 0
    assert all(sum(len(part.alerts) for part in batch) <= MOST_ALERTS_A_BATCH for batch in batches)
    for source in "abc":
        parts = [part for batch in batches for part in batch if part.waiting.delivery.source == source]
        begun = [part.waiting for part in parts if part.is_first and (part.alerts or part.waiting.is_taken)]
        assert begun == [one for one in those if one.delivery.source == source]
        assert sum(len(part.alerts) for part in parts) == sum(alerts for name, alerts in sizes if name == source)
