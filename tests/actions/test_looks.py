"""What looks find on the fake and on the real API server."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from remediator.clients.kubernetes.objects import REVISION_ANNOTATION, Workload, WorkloadMetadata, WorkloadStatus
from remediator.diagnostics.recent_events import RecentEvents
from remediator.diagnostics.rollout_history import judge
from tests.actions.bench import Bench
from tests.cluster.eventually import eventually
from tests.contract.objects import deployment

HOUR = timedelta(hours=1)
NOW = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)


async def warn(bench: Bench, kind: str, name: str, *, reason: str) -> None:
    namespace = bench.world.namespace
    about = {"kind": kind, "name": name, "namespace": namespace}
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{reason.lower()}.1", "namespace": namespace},
        "involvedObject": about,
        "type": "Warning",
        "reason": reason,
        "message": reason,
        "lastTimestamp": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    await bench.world.create("events", body)


async def test_events_of_a_workload_whose_name_begins_alike_are_not_the_targets(bench: Bench) -> None:
    """`backend-gateway` is not `backend`, and there is a Service of every name."""
    await bench.world.create("deployments", deployment("backend-gateway", replicas=1))
    pod = (await bench.pod_names())[0]
    replica_set = pod.rpartition("-")[0]
    await warn(bench, "Deployment", "backend", reason="OfTheTarget")
    await warn(bench, "ReplicaSet", replica_set, reason="OfItsReplicaSet")
    await warn(bench, "Pod", pod, reason="OfItsPod")
    await warn(bench, "Pod", f"{replica_set}-x7k2p", reason="OfAPodThatIsGone")
    await warn(bench, "Deployment", "backend-gateway", reason="OfAnother")
    await warn(bench, "Pod", "backend-gateway-5d8f7c9b6d-x7k2p", reason="OfAnothersPod")
    await warn(bench, "Pod", "backend-0", reason="OfAStatefulSetsPod")
    await warn(bench, "Service", "backend", reason="OfAService")

    facts: Any = (await RecentEvents().examine(bench.incident, bench.tools)).facts

    told = {reason for reason in facts.reasons if reason.startswith("Of")}
    assert told == {"OfTheTarget", "OfItsReplicaSet", "OfItsPod", "OfAPodThatIsGone"}


def aged(replica_set: Workload, age: timedelta) -> Workload:
    metadata = msgspec.structs.replace(replica_set.metadata, creation_timestamp=NOW - age)
    return msgspec.structs.replace(replica_set, metadata=metadata)


def release(revision: int, age: timedelta, *, pods: int = 0) -> Workload:
    metadata = WorkloadMetadata(annotations={REVISION_ANNOTATION: str(revision)})
    return aged(Workload(metadata=metadata, status=WorkloadStatus(replicas=pods)), age)


@pytest.mark.parametrize(
    ("stood", "was_healthy"),
    [
        pytest.param(timedelta(minutes=12), False, id="a broken one that a person mended after twelve minutes"),
        pytest.param(HOUR - timedelta(seconds=1), False, id="a second less than an hour"),
        pytest.param(HOUR, True, id="an hour"),
        pytest.param(timedelta(days=4), True, id="days"),
    ],
)
def test_a_release_that_stood_for_an_hour_is_taken_for_one_that_worked(stood: timedelta, was_healthy: bool) -> None:
    fresh = timedelta(minutes=1)

    facts = judge([release(3, fresh, pods=3), release(2, fresh + stood), release(1, timedelta(days=9))], now=NOW)

    assert facts.previous_was_healthy is was_healthy


async def test_a_release_that_never_replaced_the_one_before_it_did_not_work_however_long_it_stood(bench: Bench) -> None:
    """Its pods never became ready, so those of the one before it are still there."""
    await bench.world.set_broken_image("registry.example/app:3")
    await bench.world.set_broken_image("registry.example/app:4")
    await eventually(lambda: has_revision(bench, "app:4"))
    sets = await bench.tools.kubernetes.replica_sets(await bench.tools.kubernetes.workload(bench.target))

    facts = judge([aged(each, 3 * HOUR if "app:4" not in each.images else HOUR) for each in sets], now=NOW)

    assert facts.previous_image == sets_image(sets, "app:3")
    assert facts.previous_was_healthy is False


async def has_revision(bench: Bench, image: str) -> bool:
    deployment = await bench.tools.kubernetes.workload(bench.target)
    sets = await bench.tools.kubernetes.replica_sets(deployment)
    is_seen = deployment.status.observed_generation == deployment.metadata.generation
    return is_seen and any(image in each.images for each in sets)


def sets_image(sets: list[Workload], image: str) -> str:
    return next(each.images for each in sets if image in each.images)
