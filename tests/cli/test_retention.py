"""People look before they let things go: what is kept, and what would be removed."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from remediator.cli import main
from remediator.settings import load_settings

WOULD_GO = {"deliveries": 2, "quarantine": 0}


@pytest.fixture
async def with_old_bodies(database_address: str) -> str:
    import asyncpg

    connection = await asyncpg.connect(database_address)
    await connection.execute(
        """INSERT INTO deliveries (source, body, alerts, rejected, truncated, received_at)
           SELECT 'am', '{}', 0, 0, 0, now() - days * interval '1 day' FROM unnest('{1, 91, 400}'::int[]) days"""
    )
    await connection.close()
    return database_address


def test_the_report_says_what_would_go_and_removes_nothing(with_old_bodies: str) -> None:
    for _ in range(2):
        result = CliRunner().invoke(main, ["retention", "-o", "json"], env={"DATABASE_URL": with_old_bodies})

        lines = {line["what"]: line for line in json.loads(result.stdout)}
        assert {name: lines[name]["would_go"] for name in WOULD_GO} == WOULD_GO
        assert (lines["deliveries"]["kept_days"], lines["incidents"]["kept_days"]) == (90, 400)


def test_people_get_a_table(with_old_bodies: str) -> None:
    environment = {"DATABASE_URL": with_old_bodies, "REMEDIATOR_RETENTION__RAW_DAYS": "forever"}

    result = CliRunner().invoke(main, ["retention"], env=environment)

    header, first, *_ = result.stdout.splitlines()
    assert header.split() == ["WHAT", "KEPT", "ROWS", "(ABOUT)", "OLDEST", "SIZE", "WOULD", "GO"]
    assert first.split()[:2] == ["deliveries", "forever"]
    assert first.split()[-1] == "0"


async def failing(address: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(address)
    await connection.execute(
        """UPDATE retention SET failures = '{"outbox": {"why": "refused", "error": "permission denied"}}'"""
    )
    await connection.close()


@pytest.mark.parametrize("output", ["table", "json"])
def test_people_are_told_what_the_last_round_failed_at(with_old_bodies: str, output: str) -> None:
    asyncio.run(failing(with_old_bodies))

    result = CliRunner().invoke(main, ["retention", "-o", output], env={"DATABASE_URL": with_old_bodies})

    assert result.stderr.splitlines() == [
        "The last round of clearing up did not come to its end (none ever did):",
        "  outbox: refused: permission denied",
    ]


@pytest.mark.parametrize("days", ["0", "-1", "never"])
def test_no_days_at_all_is_refused_for_it_can_be_read_both_ways(days: str) -> None:
    with pytest.raises(ValueError, match="retention"):
        load_settings({"retention": {"raw_days": days}}, {})


@pytest.mark.parametrize("days", [1, "7", "forever"])
def test_days_or_for_ever_are_taken(days: object) -> None:
    kept = load_settings({"retention": {"raw_days": days}}, {}).retention.raw_days

    assert str(kept) == str(days)


@pytest.mark.parametrize("command", [["retention"], ["deliveries", "list"]])
def test_a_database_that_is_not_set_up_yet_is_told(empty_database_address: str, command: list[str]) -> None:
    result = CliRunner().invoke(main, command, env={"DATABASE_URL": empty_database_address})

    assert (result.exit_code, result.output) == (
        1,
        "Error: the database lacks migrations of this release: `remediator migrate` applies them\n",
    )


@pytest.mark.parametrize(
    "command", [["retention"], ["deliveries", "list"], ["deliveries", "show", "1"], ["migrate", "--status"]]
)
def test_looking_makes_no_database(tmp_path: Path, command: list[str]) -> None:
    folder = tmp_path / "data"

    result = CliRunner().invoke(main, command, env={"DATABASE_URL": None, "REMEDIATOR_DATA_DIR": str(folder)})

    assert result.exit_code == 1
    assert result.output.startswith("Error: there is no database to look at: DATABASE_URL is not set")
    assert "REMEDIATOR_DATA_DIR" in result.output
    assert not folder.exists()
