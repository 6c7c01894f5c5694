"""A look at Redis changes nothing, shows no password, and is short, whatever is stored there."""

from collections.abc import AsyncIterator
from operator import methodcaller

import pytest
from redis.asyncio import Redis

from remediator.clients.redis_looks import LOOKS, MOST_OF_A_VALUE, NotALook, as_sent
from remediator.clients.redis_target import RedisReader, connect_redis
from remediator.diagnostics.redis_command import RedisCommand
from remediator.domain.errors import NotAllowed, Permanent

READS_KEYS = frozenset(name for name, arguments in LOOKS.items() if arguments[0] > 0) - {"LATENCY HISTORY"}


@pytest.fixture
async def stored(valkey_url: str) -> AsyncIterator["Redis"]:
    async with Redis.from_url(valkey_url) as redis:
        yield redis
        await redis.flushdb()


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
async def reader(request: pytest.FixtureRequest, valkey_url: str) -> AsyncIterator[RedisReader]:
    async with connect_redis("cache", f"{valkey_url}?protocol={request.param}") as (made, _):
        yield made


@pytest.mark.parametrize(
    ("command", "why"),
    [
        pytest.param(["CONFIG", "GET", "requirepass"], "CONFIG is not on the list .*: it shows passwords", id="config"),
        pytest.param(["CONFIG GET", "requirepass"], "it shows passwords", id="config in one word"),
        pytest.param(["config", "get", "*"], "it shows passwords", id="config in small letters"),
        pytest.param(["CLIENT", "LIST"], "INFO clients counts them", id="clients"),
        pytest.param(["KEYS", "*"], "DBSIZE counts them", id="keys"),
        pytest.param(["LRANGE", "jobs", "0", "-1"], "LLEN says how long", id="a list"),
        pytest.param(["EVAL", "return 1", "0"], "EVAL is not on the list .*: these are: CLUSTER INFO,", id="a script"),
        pytest.param(["FLUSHALL"], "FLUSHALL is not on the list", id="a write"),
        pytest.param(
            ["SLOWLOG", "RESET"], "SLOWLOG RESET .*: these are: SLOWLOG GET, SLOWLOG LEN", id="a write beside"
        ),
        pytest.param(["MEMORY"], "MEMORY is not on the list .*: these are: MEMORY DOCTOR,", id="half a command"),
        pytest.param([""], "an empty command", id="nothing"),
        pytest.param(["GET", "a", "b"], "GET takes 1 argument here, not 2", id="too many"),
        pytest.param(["MEMORY", "USAGE", "k", "SAMPLES", "0"], "MEMORY USAGE takes 1 argument", id="a long walk"),
        pytest.param(["XPENDING", "s", "g", "-", "+", "9999999"], "XPENDING takes 2 arguments", id="a long list"),
        pytest.param(["SLOWLOG", "GET", "-1"], "a number from 1 to 128 here, not '-1'", id="the whole slow log"),
        pytest.param(["DBSIZE", "x"], "DBSIZE takes no arguments here, not 1", id="none wanted"),
    ],
)
async def test_what_is_no_short_look_is_refused_before_anybody_is_asked(command: list[str], why: str) -> None:
    async with connect_redis("cache", "redis://127.0.0.1:1/0") as (reader, _):
        with pytest.raises(NotAllowed, match=why):
            await reader.run(command)


async def test_the_server_itself_marks_what_looks_at_keys_as_read_only_and_nothing_as_a_write(stored: "Redis") -> None:
    flags = {}
    for name in LOOKS:
        [info] = (await stored.execute_command("COMMAND", "INFO", name.replace(" ", "|"))).values()
        flags[name] = set(info["flags"])

    assert {name for name, told in flags.items() if told & {"write", "blocking", "pubsub"}} == set()
    assert {name for name in READS_KEYS if "readonly" not in flags[name]} == set()


@pytest.mark.parametrize("name", [name for name in LOOKS if name not in {"CLUSTER INFO", "OBJECT FREQ"}])
async def test_each_look_has_an_answer(reader: RedisReader, stored: "Redis", name: str) -> None:
    await prepare(stored)
    arguments = {
        "GETRANGE": ["text", "0", "9"],
        "ZCOUNT": ["sorted", "-inf", "+inf"],
        "XPENDING": ["stream", "group"],
        "LATENCY HISTORY": ["command"],
    }
    keys = {
        "LLEN": "list",
        "HLEN": "hash",
        "SCARD": "set",
        "ZCARD": "sorted",
        "XLEN": "stream",
        "XINFO GROUPS": "stream",
    }
    few = arguments.get(name, [keys.get(name, "text")] * LOOKS[name][0])

    assert await reader.run([*name.split(), *few]) is not None


async def prepare(redis: "Redis") -> None:
    await redis.set("text", "7")
    await redis.rpush("list", "a")
    await redis.hset("hash", "a", "1")
    await redis.sadd("set", "a")
    await redis.zadd("sorted", {"a": 1})
    await redis.xgroup_create("stream", "group", mkstream=True)


async def test_of_a_large_value_redis_sends_the_beginning_alone(reader: RedisReader, stored: "Redis") -> None:
    await stored.set("page", "x" * 3_000_000)
    sent_before = (await stored.info("stats"))["total_net_output_bytes"]

    seen = await reader.run(["get", "page"])
    sent_since = (await stored.info("stats"))["total_net_output_bytes"] - sent_before

    assert seen == b"x" * MOST_OF_A_VALUE
    assert sent_since < 100_000
    assert await reader.run(["GET", "nowhere"]) == b""


@pytest.mark.parametrize(
    ("key", "ask"),
    [
        pytest.param("page", methodcaller("get", "page"), id="bytes"),
        pytest.param("list", methodcaller("lrange", "list", 0, -1), id="elements"),
        pytest.param("pages", methodcaller("lrange", "pages", 0, -1), id="bytes of many elements"),
    ],
)
async def test_an_answer_that_is_too_long_is_not_read_and_the_next_look_goes_on(
    reader: RedisReader, stored: "Redis", key: str, ask: methodcaller
) -> None:
    """Whatever the list lets pass, and whatever a server makes of it."""
    await stored.set("page", "x" * 3_000_000)
    await stored.rpush("list", *range(20_000))
    await stored.rpush("pages", *["x" * 500_000] * 4)

    with pytest.raises(Permanent, match=r"longer than 1 MiB or 10,000 elements.* ask for less of it"):
        await reader.lines.ask(key, ask)

    assert await reader.run(["PING"]) in {True, b"PONG"}


def test_the_documentation_of_the_field_names_every_command() -> None:
    description = RedisCommand.model_json_schema()["properties"]["command"]["description"]

    assert [name for name in LOOKS if name not in description] == []


@pytest.mark.parametrize(("first", "last"), [("0", "-1"), ("-10", "-1"), ("0", "536870911"), ("0", "8192"), ("a", "9")])
def test_a_value_is_read_in_part(first: str, last: str) -> None:
    assert as_sent(["GETRANGE", "k", "100000", "108191"]) == ["GETRANGE", "k", "100000", "108191"]
    with pytest.raises(NotALook, match="a first and a last byte"):
        as_sent(["GETRANGE", "k", first, last])


def test_the_slow_log_is_read_in_part() -> None:
    assert as_sent(["SLOWLOG", "GET", "128"]) == ["SLOWLOG", "GET", "128"]
