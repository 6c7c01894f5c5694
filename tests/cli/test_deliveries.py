"""What was sent can be read again, whether it was kept as it came or compressed."""

import json

import pytest
from click.testing import CliRunner

from remediator.cli import main
from remediator.domain.alert import Delivery, Rejected
from remediator.domain.ids import SourceName
from remediator.store import bodies
from remediator.store.bodies import WORTH_IT, packed, unpacked
from remediator.store.database import Database
from tests.bench import alerts

AM = SourceName("am")
SMALL = b'{"version": "4", "alerts": []}'
LARGE = alerts.body(range(100))
PART = Rejected(2, "labels: no\x1b[31m", b'{"labels": 1}')
WHOLE = Rejected(-1, "no JSON at byte 0", b"\x00\xff not JSON")
BOMB = Rejected(-1, "no JSON at byte 0", packed(bytes(10_000_000)))


@pytest.fixture
async def kept(database: Database, database_address: str) -> str:
    async with database.transaction() as tx:
        await bodies.keep(tx, [Delivery(AM, SMALL, ())])
        await bodies.keep(tx, [Delivery(AM, LARGE, (), (PART,))])
        await bodies.keep(tx, [Delivery(AM, b"", (), (WHOLE,))])
        await bodies.keep(tx, [Delivery(AM, b"", (), (BOMB,))])
    return database_address


@pytest.mark.parametrize("size", [0, 1, WORTH_IT - 1, WORTH_IT, 10 * WORTH_IT])
def test_what_is_kept_is_what_was_sent(size: int) -> None:
    body = b"{" * size

    assert unpacked(packed(body)) == body
    assert len(packed(body)) <= max(size, 1)


def test_the_alerts_of_a_group_are_kept_at_a_tenth_of_their_size() -> None:
    assert len(packed(LARGE)) < len(LARGE) / 10


@pytest.mark.parametrize(
    ("number", "body", "told"),
    [
        (1, SMALL, ""),
        (2, LARGE, "alert 2 could not be read: labels: no [31m\n"),
        (3, WHOLE.raw, "the body could not be read: no JSON at byte 0\n"),
        (4, BOMB.raw, "the body could not be read: no JSON at byte 0\n"),
    ],
)
def test_a_body_is_shown_byte_for_byte(kept: str, number: int, body: bytes, told: str) -> None:
    result = CliRunner().invoke(main, ["deliveries", "show", str(number)], env={"DATABASE_URL": kept})

    assert (result.exit_code, result.stdout_bytes, result.stderr) == (0, body, told)


def test_a_delivery_that_is_not_there_is_named(kept: str) -> None:
    result = CliRunner().invoke(main, ["deliveries", "show", "99"], env={"DATABASE_URL": kept})

    assert result.exit_code == 1
    assert "there is no delivery 99" in result.stderr


@pytest.mark.parametrize(("options", "found"), [([], [4, 3, 2, 1]), (["--rejected"], [4, 3, 2]), (["-n", "1"], [4])])
def test_the_newest_are_listed_first(kept: str, options: list[str], found: list[int]) -> None:
    result = CliRunner().invoke(main, ["deliveries", "list", "-o", "json", *options], env={"DATABASE_URL": kept})

    assert [one["id"] for one in json.loads(result.stdout)] == found


def test_people_get_a_table(kept: str) -> None:
    header, first, *_ = CliRunner().invoke(main, ["deliveries", "list"], env={"DATABASE_URL": kept}).stdout.splitlines()

    assert header.split() == ["ID", "RECEIVED", "SOURCE", "ALERTS", "REJECTED", "LEFT", "OUT", "KEPT", "AS"]
    assert first.split()[:1] == ["4"]
