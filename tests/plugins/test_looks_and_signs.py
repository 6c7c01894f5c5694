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

from remediator.checks import Check
from remediator.checks.alert_resolved import AlertResolved
from remediator.checks.http import Http
from remediator.checks.promql import Promql as PromqlCheck
from remediator.checks.sql import Sql
from remediator.checks.workload_ready import WorkloadReady
from remediator.clients.http import open_http
from remediator.clients.kubernetes import connect_kubernetes
from remediator.clients.prometheus import Prometheus
from remediator.clients.redis_target import connect_redis
from remediator.clients.sql_target import connect_sql_target
from remediator.diagnostics import Diagnostic
from remediator.diagnostics.http_get import HttpGet
from remediator.diagnostics.pod_logs import PodLogs
from remediator.diagnostics.pod_status import PodStatus
from remediator.diagnostics.pod_usage import PodUsage
from remediator.diagnostics.promql import Promql
from remediator.diagnostics.recent_events import RecentEvents
from remediator.diagnostics.redis_command import RedisCommand
from remediator.diagnostics.rollout_history import RolloutHistory
from remediator.diagnostics.sql_query import SqlQuery
from remediator.domain.errors import NotFound
from remediator.domain.finding import Finding
from remediator.domain.incident import Progress
from remediator.domain.target import Target
from remediator.language.expression import Scope
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
        values: list[object] = [*answers[request.query["query"]]]
        result = [{"metric": {}, "value": [1, str(value)]} for value in values]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": result}})

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
    later = replace(INCIDENT, progress=progress_from(kept.rows[0]["progress"]))
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
    ("firing", "recovered", "well"), [(True, True, False), (False, True, True), (False, False, False)]
)
async def test_an_alert_that_vanished_has_not_resolved(
    tools: Toolbox, firing: bool, recovered: bool, well: bool
) -> None:
    incident = replace(INCIDENT, firing=firing, recovered=recovered, opened_at=datetime(2026, 3, 1, tzinfo=UTC))

    assert (await AlertResolved().passes(incident, tools)).healthy is well
