"""What tests and the demo rely on beyond the contract: things break, stay broken or heal as they were told to."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import ClientError, ClientSession

from . import FakeCluster, Fault
from .kubelet import is_ready

GOOD, BAD = "registry.example/backend:1", "registry.example/backend:2"
PODS = "/api/v1/namespaces/prod/pods"


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster()
    cluster.deploy("prod", "backend", image=GOOD, replicas=4)
    return cluster


@pytest.fixture
async def served() -> AsyncIterator[tuple[FakeCluster, ClientSession]]:
    async with FakeCluster.serve() as cluster, ClientSession(cluster.url) as session:
        cluster.deploy("prod", "backend", image=GOOD, replicas=2)
        yield cluster, session


def ready(cluster: FakeCluster) -> int:
    return sum(map(is_ready, cluster.pods("prod", "backend")))


def replace_pods(cluster: FakeCluster) -> None:
    for pod in cluster.pods("prod", "backend"):
        cluster.delete("Pod", "prod", name=pod["metadata"]["name"])


def test_a_deployment_has_ready_pods_below_a_replica_set_at_once(cluster: FakeCluster) -> None:
    (replica_set,) = cluster.all("ReplicaSet", "prod")

    assert replica_set["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    assert ready(cluster) == cluster.deployment("prod", "backend")["status"]["availableReplicas"] == 4


def test_a_workload_that_is_broken_stays_so_through_restarts_until_healed(cluster: FakeCluster) -> None:
    cluster.break_pods("prod", "backend")

    replace_pods(cluster)

    assert ready(cluster) == 0
    cluster.heal("prod", "backend")
    assert ready(cluster) == 4


def test_a_pod_broken_until_restarted_is_healthy_once_replaced(cluster: FakeCluster) -> None:
    (name,) = cluster.break_until_restarted("prod", "backend", pods=1)
    assert ready(cluster) == 3

    cluster.delete("Pod", "prod", name=name)

    assert ready(cluster) == 4


def test_a_bad_image_stops_a_rollout_half_way_as_the_pace_says(cluster: FakeCluster) -> None:
    cluster.break_image(BAD)

    cluster.set_image("prod", "backend", image=BAD)

    old, new = cluster.all("ReplicaSet", "prod")
    assert {old["spec"]["replicas"], new["spec"]["replicas"]} == {3, 2}
    assert ready(cluster) == 3


def test_going_back_to_an_image_reuses_its_replica_set_under_a_new_revision(cluster: FakeCluster) -> None:
    cluster.set_image("prod", "backend", image=BAD)
    cluster.break_image(BAD)
    assert ready(cluster) == 0

    cluster.set_image("prod", "backend", image=GOOD)

    revisions = {
        replica_set["metadata"]["annotations"]["deployment.kubernetes.io/revision"]: replica_set["spec"]["replicas"]
        for replica_set in cluster.all("ReplicaSet", "prod")
    }
    assert ready(cluster) == 4
    assert revisions == {"2": 0, "3": 4}


@pytest.mark.parametrize(
    ("fault", "phase", "waiting"),
    [
        pytest.param(Fault.CRASHING, "Running", "CrashLoopBackOff", id="crashing"),
        pytest.param(Fault.OUT_OF_MEMORY, "Running", "CrashLoopBackOff", id="out of memory"),
        pytest.param(Fault.IMAGE_MISSING, "Pending", "ImagePullBackOff", id="image missing"),
        pytest.param(Fault.BAD_CONFIG, "Pending", "CreateContainerConfigError", id="bad config"),
        pytest.param(Fault.NOT_READY, "Running", None, id="not ready"),
    ],
)
def test_a_fault_shows_in_the_pods_status_and_as_an_event(
    cluster: FakeCluster, fault: Fault, phase: str, waiting: str | None
) -> None:
    cluster.break_pods("prod", "backend", reason=fault)

    status = cluster.pods("prod", "backend")[0]["status"]
    state = status["containerStatuses"][0]["state"]
    assert (status["phase"], state.get("waiting", {}).get("reason")) == (phase, waiting)
    assert len(cluster.all("Event", "prod")) == 4


def test_a_pod_that_nothing_can_hold_has_no_node(cluster: FakeCluster) -> None:
    cluster.break_pods("prod", "backend", reason=Fault.UNSCHEDULABLE)

    replace_pods(cluster)

    conditions = [pod["status"]["conditions"][0]["reason"] for pod in cluster.pods("prod", "backend")]
    assert conditions == ["Unschedulable"] * 4


def test_a_tick_is_one_more_crash(cluster: FakeCluster) -> None:
    cluster.break_pods("prod", "backend", reason=Fault.OUT_OF_MEMORY)

    cluster.tick()

    container = cluster.pods("prod", "backend")[0]["status"]["containerStatuses"][0]
    assert (container["restartCount"], container["lastState"]["terminated"]["exitCode"]) == (6, 137)


def test_a_rollout_that_is_stuck_past_its_deadline_says_so() -> None:
    moments = [datetime(2026, 3, 1, 3, 0, tzinfo=UTC)]
    cluster = FakeCluster(clock=lambda: moments[-1])
    cluster.deploy("prod", "backend", image=GOOD, replicas=4)
    cluster.break_image(BAD)
    cluster.set_image("prod", "backend", image=BAD)

    moments.append(moments[-1] + timedelta(minutes=11))
    cluster.tick()

    reasons = [condition["reason"] for condition in cluster.deployment("prod", "backend")["status"]["conditions"]]
    assert "ProgressDeadlineExceeded" in reasons


def test_a_stateful_set_replaces_its_pods_under_the_same_names(cluster: FakeCluster) -> None:
    cluster.deploy("prod", "database", kind="StatefulSet", replicas=2)
    cluster.break_until_restarted("prod", "database", pods=1)

    cluster.delete("Pod", "prod", name="database-0")

    assert [pod["metadata"]["name"] for pod in cluster.pods("prod", "database")] == ["database-0", "database-1"]
    assert all(map(is_ready, cluster.pods("prod", "database")))


def test_a_daemon_set_has_a_pod_on_every_node(cluster: FakeCluster) -> None:
    cluster.deploy("prod", "agent", kind="DaemonSet")

    nodes = {pod["spec"]["nodeName"] for pod in cluster.pods("prod", "agent")}
    assert nodes == {"node-1", "node-2", "node-3"}


async def test_logs_are_those_of_the_workload_and_of_the_crash_before(
    served: tuple[FakeCluster, ClientSession],
) -> None:
    cluster, session = served
    cluster.set_logs("prod", "backend", text="one\ntwo\nthree\n", previous="out of memory\n")
    cluster.break_pods("prod", "backend", reason=Fault.OUT_OF_MEMORY)
    name = cluster.pods("prod", "backend")[0]["metadata"]["name"]

    async with session.get(f"{PODS}/{name}/log", params={"tailLines": "2"}) as response:
        current = await response.text()
    async with session.get(f"{PODS}/{name}/log", params={"previous": "True"}) as response:
        previous = await response.text()

    assert (current, previous) == ("two\nthree\n", "out of memory\n")


async def test_metrics_are_what_was_set_or_not_installed_at_all(served: tuple[FakeCluster, ClientSession]) -> None:
    cluster, session = served
    cluster.set_usage("prod", "backend", cpu="900m", memory="250Mi")
    path = "/apis/metrics.k8s.io/v1beta1/namespaces/prod/pods"

    async with session.get(path) as response:
        items = (await response.json())["items"]
    cluster.set_metrics_installed(installed=False)
    async with session.get(path) as response:
        refusal = (response.status, await response.text())

    assert [item["containers"][0]["usage"]["cpu"] for item in items] == ["900m", "900m"]
    assert refusal == (404, "404 page not found\n")


async def test_only_what_could_change_the_cluster_counts_as_a_write(served: tuple[FakeCluster, ClientSession]) -> None:
    cluster, session = served
    review = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    name = cluster.pods("prod", "backend")[0]["metadata"]["name"]

    await session.get(PODS)
    await session.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", json=review)
    await session.delete(f"{PODS}/{name}", params={"dryRun": "All"})
    await session.delete(f"{PODS}/{name}", json={"dryRun": ["All"]})
    await session.delete(f"{PODS}/{name}", params={"dryRun": "All"}, json={"gracePeriodSeconds": 0})

    assert len(cluster.requests) == 5
    assert [(write.method, write.path) for write in cluster.requests.writes] == [("DELETE", f"{PODS}/{name}")]


async def test_a_scripted_failure_is_given_once_and_only_where_it_fits(
    served: tuple[FakeCluster, ClientSession],
) -> None:
    cluster, session = served
    cluster.fail_next(429, path="/pods", retry_after=7)

    async with session.get("/version") as response:
        beside = response.status
    async with session.get(PODS) as response:
        first = (response.status, response.headers["Retry-After"], (await response.json())["reason"])
    async with session.get(PODS) as response:
        second = response.status

    assert (beside, first, second) == (200, (429, "7", "TooManyRequests"), 200)


async def test_a_hang_up_does_what_was_asked_and_answers_nothing(served: tuple[FakeCluster, ClientSession]) -> None:
    cluster, session = served
    cluster.hang_up_next(method="POST", path="/eviction")
    name = cluster.pods("prod", "backend")[0]["metadata"]["name"]

    with pytest.raises(ClientError):
        await session.post(f"{PODS}/{name}/eviction", json={"metadata": {"name": name}})

    assert [write.answered for write in cluster.requests.effects] == [201]
    assert name not in [pod["metadata"]["name"] for pod in cluster.pods("prod", "backend")]


async def test_what_a_hang_up_did_can_be_hidden_from_the_next_look(served: tuple[FakeCluster, ClientSession]) -> None:
    cluster, session = served
    cluster.hang_up_next(method="POST", path="/eviction", hides=1)
    name = cluster.pods("prod", "backend")[0]["metadata"]["name"]

    with pytest.raises(ClientError):
        await session.post(f"{PODS}/{name}/eviction", json={"metadata": {"name": name}})
    looks = [(await session.get(f"{PODS}/{name}")).status for _ in range(2)]

    assert looks == [500, 404]


async def test_what_is_denied_is_forbidden_in_the_words_of_rbac(served: tuple[FakeCluster, ClientSession]) -> None:
    cluster, session = served
    cluster.deny("create", "pods/eviction", namespace="prod")
    name = cluster.pods("prod", "backend")[0]["metadata"]["name"]

    async with session.post(f"{PODS}/{name}/eviction", json={"metadata": {"name": name}}) as response:
        status = await response.json()

    assert (status["code"], status["reason"]) == (403, "Forbidden")
    assert status["message"] == (
        f'pods "{name}" is forbidden: User "system:serviceaccount:remediator:remediator" cannot create resource '
        '"pods/eviction" in API group "" in the namespace "prod"'
    )


async def test_an_eviction_before_the_budget_is_counted_is_told_to_come_back(
    served: tuple[FakeCluster, ClientSession],
) -> None:
    cluster, session = served
    cluster.hold_budgets()
    cluster.add_budget("prod", "backend", app="backend", min_available=1)
    name = cluster.pods("prod", "backend")[0]["metadata"]["name"]
    url, body = f"{PODS}/{name}/eviction", {"metadata": {"name": name}}

    async with session.post(url, json=body) as response:
        early = (response.status, response.headers.get("Retry-After"))
    cluster.tick()
    async with session.post(url, json=body) as response:
        later = response.status

    assert (early, later) == ((429, "10"), 201)


async def test_a_watch_and_a_list_from_before_a_compaction_are_gone(served: tuple[FakeCluster, ClientSession]) -> None:
    cluster, session = served
    async with session.get(PODS, params={"limit": "1"}) as response:
        page = (await response.json())["metadata"]
    cluster.set_image("prod", "backend", image=BAD)
    cluster.compact()

    async with session.get(PODS, params={"watch": "True", "resourceVersion": page["resourceVersion"]}) as response:
        event = await response.json()
    async with session.get(PODS, params={"limit": "1", "continue": page["continue"]}) as response:
        next_page = response.status

    assert (event["type"], event["object"]["code"], next_page) == ("ERROR", 410, 410)
