"""Diagnostics and checks on real PostgreSQL, Valkey and HTTP, and on a fake cluster: what they find, and that no answer
is never taken for a good one."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace
from redis.asyncio import Redis

from remediator.checks import Check, Sign
from remediator.checks.alert_resolved import AlertResolved
from remediator.checks.http import Http
from remediator.checks.promql import Promql as PromqlCheck
from remediator.checks.sql import Sql
from remediator.checks.workload_ready import WorkloadReady
from remediator.checks.workload_ready import judge as judge_workload
from remediator.clients.http import open_http
from remediator.clients.kubernetes import connect_kubernetes
from remediator.clients.kubernetes.objects import (
    ContainerSpec,
    ContainerUsage,
    Metadata,
    Pod,
    PodMetrics,
    PodSpec,
    Resources,
    Usage,
    Workload,
    WorkloadStatus,
)
from remediator.clients.prometheus import Prometheus
from remediator.clients.redis_target import connect_redis
from remediator.clients.sql_target import connect_sql_target
from remediator.diagnostics import Diagnostic
from remediator.diagnostics.http_get import HttpGet
from remediator.diagnostics.pod_logs import PodLogs
from remediator.diagnostics.pod_status import PodStatus
from remediator.diagnostics.pod_usage import Facts as UsageFacts
from remediator.diagnostics.pod_usage import PodUsage
from remediator.diagnostics.pod_usage import judge as judge_usage
from remediator.diagnostics.promql import Facts as PromqlFacts
from remediator.diagnostics.promql import Promql
from remediator.diagnostics.recent_events import RecentEvents
from remediator.diagnostics.redis_command import RedisCommand
from remediator.diagnostics.rollout_history import RolloutHistory
from remediator.diagnostics.sql_query import SqlQuery
from remediator.domain.errors import NotFound
from remediator.domain.finding import Finding
from remediator.domain.incident import Progress
from remediator.domain.target import Target
from remediator.language.expression import EvaluationError, Scope
from remediator.rules.values import finding_names, values_of
from remediator.store.documents import progress_from, progress_json
from remediator.toolbox import Toolbox
from tests.actions.bench import incident_of
from tests.fakes.kubernetes import FakeCluster
from tests.fakes.serving import serving

INCIDENT = incident_of(Target("deployment", "backend", "prod"))
STRANGER = {
    "metadata": {"name": "stranger", "labels": {"app": "backend"}},
    "spec": {"containers": [{"name": "backend", "image": "registry.example/app:1"}]},
}
"""A pod that the Deployment's selector finds, and that is not the Deployment's."""


@pytest.fixture
async def web_url() -> AsyncIterator[str]:
    async def query(request: web.Request) -> web.Response:
        answers = {"low": [0.01], "mixed": [0.01, 0.9], "none": [], "1 / 0": ["+Inf"], "-1 / 0": ["-Inf"]}
        answers |= {"one pod is dead": [0.01, "NaN"], "0 / 0": ["NaN"], "partial": [0.01]}
        values: list[object] = [*answers[request.query["query"]]]
        result = [{"metric": {"pod": f"a-{n}"}, "value": [1, str(value)]} for n, value in enumerate(values)]
        told = {"warnings": ["store b: unavailable"]} if request.query["query"] == "partial" else {}
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}, **told})

    async def health(request: web.Request) -> web.Response:
        return web.Response(text="all is well")

    app = web.Application()
    app.add_routes([web.get("/api/v1/query", query), web.get("/health", health)])
    async with serving(app) as url:
        yield url


@pytest.fixture
async def tools(
    fake_cluster: FakeCluster, tmp_path: Path, valkey_url: str, web_url: str, database_address: str
) -> AsyncIterator[Toolbox]:
    fake_cluster.deploy("prod", "backend", replicas=3, image="registry.example/app:1")
    kubernetes = await connect_kubernetes(fake_cluster.write_kubeconfig(tmp_path / "kubeconfig"), None)
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(open_http(private_networks=True))
        reader, _ = await stack.enter_async_context(connect_redis("cache", valkey_url))
        yield Toolbox(
            http,
            kubernetes_reader=kubernetes.reader,
            databases={"main": await stack.enter_async_context(connect_sql_target("main", database_address))},
            redis_readers={"cache": reader},
            prometheus_servers={"default": Prometheus("default", web_url, http)},
        )
    await kubernetes.close()


async def facts(diagnostic: Diagnostic, tools: Toolbox) -> Any:
    return (await diagnostic.examine(INCIDENT, tools)).facts


async def healthy(check: Check, tools: Toolbox) -> bool:
    return (await check.passes(INCIDENT, tools)).healthy


async def test_pods_are_counted_and_the_failing_named(tools: Toolbox, fake_cluster: FakeCluster) -> None:
    broken = fake_cluster.break_until_restarted("prod", "backend", pods=1)

    seen = await facts(PodStatus(), tools)

    assert (seen.desired, seen.ready, seen.failing, seen.failing_names) == (3, 2, 1, broken)
    assert (seen.crash_looping, seen.oom_killed) == (1, 1)


async def test_logs_are_counted_for_errors(tools: Toolbox, fake_cluster: FakeCluster) -> None:
    fake_cluster.set_logs("prod", "backend", text="fine\nERROR one\nJavaScript heap out of memory\n")

    seen = await facts(PodLogs(tail=10, pods=2), tools)

    assert (seen.pods, seen.lines, seen.error_lines, seen.out_of_memory) == (2, 6, 2, True)


@pytest.mark.parametrize(
    ("text", "pods", "words"),
    [
        ("ERROR\nERROR\n", 3, "6 of 6 lines of 3 pods with an error, last: ERROR"),
        ("fine", 1, "0 of 1 line of 1 pod with an error"),
    ],
)
async def test_logs_are_summed_up_in_words(
    tools: Toolbox, fake_cluster: FakeCluster, text: str, pods: int, words: str
) -> None:
    fake_cluster.set_logs("prod", "backend", text=text)

    look = await PodLogs(pods=pods).examine(INCIDENT, tools)

    assert look.summary == words


async def test_usage_is_a_share_of_what_may_be_used(tools: Toolbox, fake_cluster: FakeCluster) -> None:
    fake_cluster.set_usage("prod", "backend", memory="192Mi")

    seen = await facts(PodUsage(), tools)

    assert (seen.pods, seen.memory, seen.highest_memory_names) == (3, 0.75, [])


async def test_usage_is_that_of_the_targets_own_pods(tools: Toolbox, fake_cluster: FakeCluster) -> None:
    fake_cluster.create("prod", {"apiVersion": "v1", "kind": "Pod", **STRANGER})
    fake_cluster.set_usage("prod", "stranger", memory="250Mi")

    seen = await facts(PodUsage(), tools)

    assert (seen.pods, seen.highest_memory_names) == (3, [])


async def test_without_a_metrics_api_usage_is_an_error_and_not_zero(tools: Toolbox, fake_cluster: FakeCluster) -> None:
    fake_cluster.set_metrics_installed(installed=False)

    with pytest.raises(NotFound, match="metrics"):
        await PodUsage().examine(INCIDENT, tools)


def hide_all_usage(fake_cluster: FakeCluster) -> None:
    for pod in fake_cluster.pods("prod", "backend"):
        fake_cluster.hide_usage("prod", pod["metadata"]["name"])


async def test_usage_that_was_measured_of_no_pod_is_unknown(tools: Toolbox, fake_cluster: FakeCluster) -> None:
    """metrics-server lists nothing while it starts: 0 there scaled down under load."""
    hide_all_usage(fake_cluster)

    look = await PodUsage().examine(INCIDENT, tools)

    assert look.facts == UsageFacts(
        pods=0, cpu=None, memory=None, highest_memory=None, highest_memory_pod="", highest_memory_names=[]
    )
    assert look.summary == "cpu unknown, memory unknown, 0 of 3 pods were measured"


async def test_usage_of_some_of_the_pods_is_not_that_of_all(tools: Toolbox, fake_cluster: FakeCluster) -> None:
    """Those that are killed or just starting are often the ones without figures."""
    fake_cluster.set_usage("prod", "backend", cpu="10m", memory="240Mi")
    [first, *_] = fake_cluster.pods("prod", "backend")
    fake_cluster.hide_usage("prod", first["metadata"]["name"])

    seen = await facts(PodUsage(), tools)

    assert (seen.pods, seen.cpu, seen.memory) == (2, None, None)
    assert (seen.highest_memory, len(seen.highest_memory_names)) == (0.9375, 2)


@pytest.mark.parametrize(
    ("limits", "measured", "cpu"),
    [
        pytest.param([{"cpu": "1"}], ["500m"], 0.5, id="a limit"),
        pytest.param([{"cpu": "1"}, {"cpu": "1"}], ["500m", "1"], 0.75, id="two containers"),
        pytest.param([{}], ["500m"], None, id="no limit"),
        pytest.param([{"cpu": "0"}], ["500m"], None, id="a limit of 0 is none"),
        pytest.param([{"cpu": "1"}, {}], ["500m", "1m"], None, id="one of two without"),
        pytest.param([{"cpu": "1"}, {"cpu": "1"}], ["500m"], None, id="one of two not measured"),
        pytest.param([{"cpu": "1"}], ["500m", "7"], 0.5, id="measured, and not in the specification"),
        pytest.param([{"cpu": "1"}], [""], None, id="measured, but not its CPU"),
        pytest.param([{"cpu": "1"}], ["0"], 0.0, id="idle"),
        pytest.param([], [], None, id="no container"),
    ],
)
def test_usage_is_known_where_each_container_is_measured_and_has_a_limit(
    limits: list[dict[str, str]], measured: list[str], cpu: float | None
) -> None:
    containers = [ContainerSpec(f"c{n}", resources=Resources(limits=each)) for n, each in enumerate(limits)]
    used = [ContainerUsage(f"c{n}", Usage(cpu=each)) for n, each in enumerate(measured)]

    seen = judge_usage([Pod(Metadata("a"), PodSpec(containers))], [PodMetrics(Metadata("a"), used)])

    assert seen.cpu == cpu


def test_usage_of_pods_that_leave_makes_up_for_none_that_came() -> None:
    """During a roll-out as many are measured as there are, and they are others."""
    spec = PodSpec([ContainerSpec("app", resources=Resources(limits={"cpu": "1"}))])
    leaving = Pod(Metadata("old", deletion_timestamp=INCIDENT.opened_at), spec)
    measured = PodMetrics(Metadata("old"), [ContainerUsage("app", Usage(cpu="100m"))])

    assert judge_usage([leaving, Pod(Metadata("new"), spec)], [measured]).cpu is None


@pytest.mark.parametrize(
    ("look", "condition"),
    [
        pytest.param(Promql(query="none"), "diagnose.look.value < 0.5", id="no series"),
        pytest.param(Promql(query="0 / 0"), "diagnose.look.lowest < 0.5", id="NaN alone"),
        pytest.param(Promql(query="partial"), "diagnose.look.value < 0.5", id="a partial answer"),
        pytest.param(PodUsage(), "diagnose.look.cpu < 0.5", id="no pod"),
        pytest.param(
            RedisCommand(connection="cache", command=["INFO", "memory"]),
            "diagnose.look.used_memory < 0.5",
            id="no maxmemory",
        ),
        pytest.param(RedisCommand(connection="cache"), "diagnose.look.used_memory < 0.5", id="no INFO"),
    ],
)
async def test_a_fact_that_is_unknown_is_no_reason_to_act(
    tools: Toolbox, fake_cluster: FakeCluster, look: Diagnostic, condition: str
) -> None:
    hide_all_usage(fake_cluster)
    seen = Finding(ok=True, summary="", facts=asdict(await facts(look, tools)))
    later = replace(INCIDENT, progress=Progress(findings={"look": seen}))
    scope = Scope(finding_names("look", type(look)))

    with pytest.raises(EvaluationError, match="has no value"):
        scope.condition(condition).evaluate(values_of(later, now=later.opened_at))


async def test_a_new_revision_is_young_and_the_one_before_known(tools: Toolbox, fake_cluster: FakeCluster) -> None:
    fake_cluster.set_image("prod", "backend", image="registry.example/app:2")

    seen = await facts(RolloutHistory(), tools)

    assert (seen.revision, seen.image, seen.previous_image) == (2, "registry.example/app:2", "registry.example/app:1")
    assert seen.age < timedelta(minutes=1)
    assert seen.previous_was_healthy is False


async def test_warnings_about_the_target_are_told(tools: Toolbox, fake_cluster: FakeCluster) -> None:
    fake_cluster.add_event("prod", "Deployment", name="backend", reason="Bad", message="it is bad")

    assert "Bad" in (await facts(RecentEvents(), tools)).reasons


async def test_other_systems_answer(tools: Toolbox, web_url: str) -> None:
    sql = await facts(SqlQuery(connection="main", query="SELECT sum(42::bigint) AS n"), tools)
    ping = await facts(RedisCommand.model_validate({"connection": "cache", "command": "PING"}), tools)
    page = await facts(HttpGet(url=f"{web_url}/health"), tools)
    rate = await facts(Promql(query="mixed"), tools)

    assert (sql.value, ping.text, page.status, page.body, page.well) == (42.0, "True", 200, "all is well", True)
    assert (rate.series, rate.value, rate.lowest) == (2, 0.9, 0.01)


@pytest.mark.parametrize(
    ("query", "value", "text"),
    [
        pytest.param("SELECT avg(n) FROM generate_series(1, 9) n", 5.0, "5.0000000000000000", id="numeric"),
        pytest.param("SELECT extract(epoch FROM interval '90 s')", 90.0, "90.000000", id="an age"),
        pytest.param("SELECT interval '90 s'", 90.0, "0:01:30", id="an interval"),
        pytest.param("SELECT 4.5::float8", 4.5, "4.5", id="float"),
        pytest.param("SELECT 'NaN'::numeric", None, "NaN", id="NaN"),
        pytest.param("SELECT 'seven'", None, "seven", id="text"),
        pytest.param("SELECT true", None, "True", id="a truth value"),
        pytest.param("SELECT NULL::int", None, "", id="null"),
        pytest.param("SELECT 1 WHERE false", None, "", id="no row"),
        pytest.param("SELECT 1 AS n, 2 AS n", 1.0, "1", id="the first of two columns of one name"),
    ],
)
async def test_what_sql_calls_a_number_is_one_and_nothing_else_is_0(
    tools: Toolbox, query: str, value: float | None, text: str
) -> None:
    seen = await facts(SqlQuery(connection="main", query=query), tools)

    assert (seen.value, seen.text) == (value, text)


@pytest.mark.parametrize(
    ("stored", "number"),
    [("42", 42.0), ("-1.5e3", -1500.0), ("seven", None), ("1_000", None), ("nan", None), ("", None)],
)
async def test_a_stored_value_that_reads_as_a_number_is_that_number(
    tools: Toolbox, valkey_url: str, stored: str, number: float | None
) -> None:
    async with Redis.from_url(valkey_url) as redis:
        await redis.set("queue:depth", stored)
        seen = await facts(RedisCommand(connection="cache", command=["GET", "queue:depth"]), tools)
        await redis.delete("queue:depth")

    assert (seen.number, seen.text) == (number, stored)


@pytest.mark.parametrize(
    ("look", "condition"),
    [
        pytest.param(Promql(query="1 / 0"), "diagnose.look.value > 0.5", id="prometheus"),
        pytest.param(Promql(query="-1 / 0"), "diagnose.look.lowest < -0.5", id="prometheus, minus"),
        pytest.param(
            SqlQuery(connection="main", query="SELECT 'infinity'::float8"), "diagnose.look.value > 0.5", id="float"
        ),
        pytest.param(
            SqlQuery(connection="main", query="SELECT '-infinity'::numeric"), "diagnose.look.value < -0.5", id="numeric"
        ),
        pytest.param(SqlQuery(connection="main", query="SELECT 1e400"), "diagnose.look.value > 0.5", id="too large"),
    ],
)
async def test_an_infinity_is_still_beyond_every_bound_when_the_next_stage_reads_it(
    tools: Toolbox, look: Diagnostic, condition: str
) -> None:
    seen = Finding(ok=True, summary="", facts=asdict(await facts(look, tools)))
    written = progress_json(Progress(findings={"look": seen}))
    kept = await tools.database("main").query("SELECT $1::jsonb::text AS progress", [written])
    later = replace(INCIDENT, progress=progress_from(kept.first_value))
    scope = Scope(finding_names("look", type(look)))

    assert scope.condition(condition).evaluate(values_of(later, now=later.opened_at)) is True


async def test_signs_of_health(tools: Toolbox, fake_cluster: FakeCluster, web_url: str) -> None:
    assert await healthy(WorkloadReady(), tools)
    assert await healthy(Sql(connection="main"), tools)
    assert await healthy(Http(url=f"{web_url}/health", contains="well"), tools)
    assert await healthy(PromqlCheck(query="low", below=0.05), tools)


async def test_signs_of_trouble(tools: Toolbox, fake_cluster: FakeCluster, web_url: str) -> None:
    fake_cluster.break_pods("prod", "backend")

    assert not await healthy(WorkloadReady(), tools)
    assert not await healthy(AlertResolved(), tools)
    assert not await healthy(Sql(connection="main", query="SELECT false"), tools)
    assert not await healthy(Sql(connection="main", query="SELECT 1 WHERE false"), tools)
    assert not await healthy(Http(url=f"{web_url}/nothing"), tools)
    assert not await healthy(PromqlCheck(query="mixed", below=0.05), tools)
    assert not await healthy(PromqlCheck(query="none", below=0.05), tools)


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("one pod is dead", '{pod="a-1"} has no value (NaN): nothing is proven'),
        ("0 / 0", '{pod="a-0"} has no value (NaN): nothing is proven'),
        ("partial", "the answer is not whole: store b: unavailable"),
    ],
)
@pytest.mark.parametrize("bound", [{"below": 0.05}, {"above": 0.001}], ids=["below", "above"])
async def test_what_prometheus_cannot_tell_is_no_proof(
    tools: Toolbox, query: str, detail: str, bound: dict[str, float]
) -> None:
    check = PromqlCheck(query=query, **bound)  # type: ignore[arg-type]

    assert await check.passes(INCIDENT, tools) == Sign(healthy=False, detail=detail)


async def test_a_look_leaves_out_what_has_no_value_and_tells_what_is_missing(tools: Toolbox) -> None:
    one_dead = await Promql(query="one pod is dead").examine(INCIDENT, tools)
    partial = await Promql(query="partial").examine(INCIDENT, tools)

    assert one_dead.facts == PromqlFacts(series=1, value=0.01, lowest=0.01)
    assert partial.summary == "0.01 (1 series), not whole: store b: unavailable"


@pytest.mark.parametrize(
    ("query", "well"),
    [
        ("SELECT true", True),
        ("SELECT false", False),
        ("SELECT 1", True),
        ("SELECT 0.5::numeric", True),
        ("SELECT 0", False),
        ("SELECT 0.0::float8", False),
        ("SELECT NULL::bool", False),
        pytest.param("SELECT 'NaN'::numeric", False, id="NaN"),
        pytest.param("SELECT 'NaN'::float8", False, id="NaN, float"),
        pytest.param("SHOW row_security", False, id="the text on"),
        ("SELECT 'off'", False),
        ("SELECT 'f'", False),
        ("SELECT 'false'", False),
        ("SELECT '0'", False),
        ("SELECT 'true'", False),
        ("SELECT ARRAY[false]", False),
        ("SELECT", False),
        pytest.param("SELECT 0 AS lag, 1 AS lag", False, id="the first of two columns of one name"),
        pytest.param("SELECT 1 AS lag, 0 AS lag", True, id="the first of two columns of one name, well"),
    ],
)
async def test_a_database_is_well_only_by_true_or_a_number_that_is_not_zero(
    tools: Toolbox, query: str, well: bool
) -> None:
    """`SHOW`, a boolean cast to text, and functions that give text say "off" or "f", which is not nothing."""
    assert await healthy(Sql(connection="main", query=query), tools) is well


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
async def test_a_workload_that_asks_for_no_pods_proves_nothing(
    tools: Toolbox, fake_cluster: FakeCluster, kind: str
) -> None:
    """Somebody scaled it to 0, or a mistaken fix did: the outage would be its own proof of health."""
    fake_cluster.deploy("prod", "idle", replicas=0, kind=kind)

    sign = await WorkloadReady().passes(incident_of(Target(kind.lower(), "idle", "prod")), tools)

    assert sign == Sign(healthy=False, detail=f"the {kind.lower()} asks for no pods: nothing is proven")


def test_a_daemonset_that_fits_on_no_node_proves_nothing() -> None:
    sign = judge_workload(Workload(kind="daemonset", status=WorkloadStatus(desired_number_scheduled=0)))

    assert sign == Sign(healthy=False, detail="the daemonset asks for no pods: nothing is proven")


@pytest.mark.parametrize(
    ("firing", "recovered", "well"), [(True, True, False), (False, True, True), (False, False, False)]
)
async def test_an_alert_that_vanished_has_not_resolved(
    tools: Toolbox, firing: bool, recovered: bool, well: bool
) -> None:
    incident = replace(INCIDENT, firing=firing, recovered=recovered, opened_at=datetime(2026, 3, 1, tzinfo=UTC))

    assert (await AlertResolved().passes(incident, tools)).healthy is well
