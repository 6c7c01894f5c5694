"""What each door to another system refuses to let through."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest
from aiohttp import web
from redis.asyncio import Redis

from remediator.clients.http import HttpClient, open_http
from remediator.clients.prometheus import Prometheus
from remediator.clients.redis_target import MOST_CONNECTIONS, connect_redis
from remediator.clients.sql_target import MOST_ROWS, connect_sql_target
from remediator.domain.errors import Ambiguous, NotAllowed, Permanent, Temporary
from remediator.store.database import to_json
from tests.fakes.ports import deaf_port
from tests.fakes.serving import serving


@pytest.mark.parametrize(
    "url", ["http://169.254.169.254/latest", "http://[fe80::1]/", "file:///etc/passwd", "nonsense"]
)
async def test_what_is_no_web_address_of_ours_is_refused(http: HttpClient, url: str) -> None:
    with pytest.raises((NotAllowed, Permanent)):
        await http.get(url)


@pytest.mark.parametrize("name", ["alertmanager..svc", f"{'a' * 64}.svc", ".svc"])
async def test_a_name_that_no_host_can_have_is_an_error_that_says_so(http: HttpClient, name: str) -> None:
    for call in (http.get, partial(http.post, body=b"")):
        with pytest.raises(Permanent, match="no host has such a name"):
            await call(f"http://{name}:1/")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:10.0.0.1]",
        "[64:ff9b::a00:1]",
        "localhost",
        "2130706433",
        "127.1",
    ],
)
async def test_where_private_networks_are_closed_no_spelling_of_an_address_opens_them(host: str, server: str) -> None:
    """aiohttp asks no resolver about numbers, so the resolver's guard never saw them."""
    async with open_http(private_networks=False) as public_only:
        with pytest.raises((NotAllowed, Permanent)):
            await public_only.get(server.replace("127.0.0.1", host))


@pytest.fixture
async def http() -> AsyncIterator[HttpClient]:
    async with open_http(private_networks=True) as opened:
        yield opened


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async def away(request: web.Request) -> web.Response:
        raise web.HTTPFound("http://169.254.169.254/")

    async def huge(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * 5_000_000)

    async def query(request: web.Request) -> web.Response:
        asked = request.query["query"]
        answers: dict[str, object] = {
            "vector": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "NaN"]}]},
            "ratio": {"resultType": "vector", "result": [{"metric": {}, "value": [1, "+Inf"]}]},
            "matrix": {"resultType": "matrix", "result": []},
            "histogram": {"resultType": "vector", "result": [{"metric": {}, "histogram": [1, {"count": "0"}]}]},
            "nothing": None,
        }
        if asked not in answers:
            return web.json_response({"status": "error", "error": "parse error"}, status=400)
        return web.json_response({"status": "success", "data": answers[asked]})

    app = web.Application()
    app.add_routes([web.get("/away", away), web.get("/huge", huge), web.get("/api/v1/query", query)])
    async with serving(app) as url:
        yield url


async def test_redirects_are_not_followed_and_bodies_are_cut(http: HttpClient, server: str) -> None:
    assert (await http.get(f"{server}/away")).status == 302
    assert len((await http.get(f"{server}/huge")).body) == 1024 * 1024
    assert len((await http.get(f"{server}/huge", at_most=3_000_000)).body) == 3_000_000


async def test_nobody_there_is_temporary(http: HttpClient) -> None:
    with pytest.raises(Temporary):
        await http.get("http://127.0.0.1:1/")


@pytest.fixture
def deaf() -> Iterator[str]:
    with deaf_port() as port:
        yield f"http://127.0.0.1:{port}/"


async def test_a_message_that_found_no_connection_is_temporary(http: HttpClient, deaf: str) -> None:
    """It surely was not sent, and a page that is taken for sent is not tried again."""
    with pytest.raises(Temporary):
        await http.post(deaf, body=b"page", timeout=0.2)


async def test_a_message_without_an_answer_is_ambiguous_and_a_look_temporary(http: HttpClient) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1") as listening:
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"

        with pytest.raises(Ambiguous):
            await http.post(url, body=b"page")
        with pytest.raises(Temporary):
            await http.get(url)


async def test_infinity_stays_above_every_bound_also_as_json(http: HttpClient, server: str) -> None:
    [sample] = (await Prometheus("default", server, http).query("ratio")).samples

    assert json.loads(to_json({"value": sample.value}))["value"] > 1e300


async def test_a_series_without_a_value_is_told_as_one(http: HttpClient, server: str) -> None:
    answer = await Prometheus("default", server, http).query("vector")

    assert [sample.is_known for sample in answer.samples] == [False]


@pytest.mark.parametrize("query", ["matrix", "sum(", "histogram", "nothing"])
async def test_a_wrong_query_and_what_is_no_answer_are_permanent(http: HttpClient, server: str, query: str) -> None:
    with pytest.raises(Permanent):
        await Prometheus("default", server, http).query(query)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE t (a int)",
        "SELECT 1; SELECT 2",
        "WITH x AS (DELETE FROM migrations RETURNING 1) SELECT * FROM x",
        "SELECT no_such_column",
    ],
)
async def test_a_database_is_looked_at_and_never_changed(database_address: str, sql: str) -> None:
    async with connect_sql_target("main", database_address) as target:
        with pytest.raises(Permanent):
            await target.query(sql)


async def test_rows_are_capped_and_parameters_bound(database_address: str) -> None:
    async with connect_sql_target("main", database_address) as target:
        many = await target.query("SELECT generate_series(1, 100000) AS n")
        hostile = await target.query("SELECT $1::text AS it", ["'; DROP TABLE incidents; --"])

    assert (many.count, many.truncated) == (MOST_ROWS, True)
    assert hostile.first_value == "'; DROP TABLE incidents; --"


@pytest.mark.parametrize("command", [["FLUSHALL"], ["CONFIG", "SET", "a", "b"], ["KEYS", "*"], ["EVAL", "x", "0"], []])
async def test_redis_runs_nothing_but_looks(valkey_url: str, command: list[str]) -> None:
    async with connect_redis("cache", valkey_url) as (reader, _):
        with pytest.raises(NotAllowed):
            await reader.run(command)


async def test_only_keys_that_match_are_unlinked(valkey_url: str) -> None:
    async with connect_redis("cache", valkey_url) as (reader, writer), Redis.from_url(valkey_url) as cache:
        await cache.flushdb()
        for number in range(1_200):
            await cache.set(f"feed:{number}", "x")
        await cache.set("session:1", "kept")

        assert len(await reader.keys("feed:*", at_most=10)) == 10
        assert await writer.unlink(await reader.keys("feed:*", at_most=10_000)) == 1_200
        assert await reader.run(["DBSIZE"]) == 1


async def test_more_looks_at_once_than_connections_wait_for_one(valkey_url: str) -> None:
    async with connect_redis("cache", valkey_url) as (reader, _):
        answers = await asyncio.gather(*(reader.run(["PING"]) for _ in range(4 * MOST_CONNECTIONS)))

    assert answers == [True] * 4 * MOST_CONNECTIONS


async def test_a_connection_that_redis_closed_is_made_anew(valkey_url: str) -> None:
    async with connect_redis("cache", valkey_url) as (reader, _), Redis.from_url(valkey_url) as another:
        await reader.run(["PING"])
        await another.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await another.ping()  # by now the end of the other connection is here too

        assert await reader.run(["PING"])
