"""What a rule says to people is had without asking where it can be, and waited for by nobody."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from remediator.domain.guidance import NO_GUIDANCE, Guidance
from remediator.domain.ids import RuleName, RuleVersion
from remediator.engine import guidance
from remediator.engine.guidance import GuidanceReader
from remediator.rules.loader import load_rules
from remediator.store import rule_versions
from remediator.store.database import Database
from tests.rules.folder import RULE, write_rules

OLD = RuleVersion("of-yesterday")
DOCUMENT = {"rule": "service-down", "summary": "as it was", "links": {"Errors": "https://old.example.invalid"}}


@pytest.fixture
def reader(database: Database, tmp_path: Path) -> GuidanceReader:
    written = f"{RULE}links:\n  Errors: https://new.example.invalid\n"
    rulebook = load_rules(write_rules(tmp_path, service_down=written)).rulebook
    return GuidanceReader(database, lambda: rulebook)


async def keep(database: Database, document: Mapping[str, object]) -> None:
    async with database.transaction() as tx:
        await rule_versions.save(tx, [(OLD, RuleName("service-down"), document)])


async def test_of_a_rule_in_force_the_database_is_not_asked(reader: GuidanceReader) -> None:
    (rule,) = reader.rulebook().rules
    reader.database.health.lost("reset")

    told = await reader.of(rule.version)

    assert told == Guidance("The health check has failed.", {"Errors": "https://new.example.invalid"})


async def test_an_edit_does_not_change_what_an_incident_began_with(database: Database, reader: GuidanceReader) -> None:
    await keep(database, DOCUMENT)

    assert await reader.of(OLD) == Guidance("as it was", {"Errors": "https://old.example.invalid"})


async def test_a_version_is_read_once(database: Database, reader: GuidanceReader) -> None:
    await keep(database, DOCUMENT)
    first = await reader.of(OLD)
    database.health.lost("reset")

    assert await reader.of(OLD) == first != NO_GUIDANCE


async def test_one_that_is_gone_says_nothing(reader: GuidanceReader) -> None:
    assert await reader.of(OLD) == NO_GUIDANCE


async def test_one_that_was_unreadable_is_read_when_it_can_be(database: Database, reader: GuidanceReader) -> None:
    await keep(database, DOCUMENT)
    database.health.lost("reset")
    before = await reader.of(OLD)
    database.health.found_well()

    assert (before, (await reader.of(OLD)).summary) == (NO_GUIDANCE, "as it was")


async def test_nobody_waits_for_a_table_that_somebody_holds(
    database: Database, reader: GuidanceReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do many of them take the connections of those who have something to write."""
    monkeypatch.setattr(guidance, "WITHIN", guidance.WITHIN / 10)
    await keep(database, DOCUMENT)

    async with database.transaction() as holder:
        await holder.execute("LOCK TABLE rule_versions")
        async with asyncio.timeout(1):
            told = await asyncio.gather(*(reader.of(OLD) for _ in range(100)))

    assert told == [NO_GUIDANCE] * 100
    assert not database.health.doubt
