"""Every version of a rule is kept, and only new ones are written."""

import pytest

from remediator.domain.errors import NotFound
from remediator.domain.ids import RuleName, RuleVersion
from remediator.store import rule_versions
from remediator.store.database import Database


def versions(*names: str) -> list[tuple[RuleVersion, RuleName, dict[str, object]]]:
    return [(RuleVersion(name), RuleName(f"rule-{name}"), {"rule": name, "match": ["é"], "fix": []}) for name in names]


async def test_a_version_comes_back_as_it_was_written(database: Database) -> None:
    async with database.transaction() as tx:
        await rule_versions.save(tx, versions("b", "a"))

    async with database.connection() as connection:
        assert await rule_versions.load(connection, RuleVersion("a")) == {"rule": "a", "match": ["é"], "fix": []}
        with pytest.raises(NotFound):
            await rule_versions.load(connection, RuleVersion("c"))


@pytest.mark.parametrize(("names", "kept"), [((), "ab"), (("a", "b"), "ab"), (("a", "b", "c"), "abc")])
async def test_only_versions_that_are_not_there_are_written(
    database: Database, names: tuple[str, ...], kept: str
) -> None:
    async with database.transaction() as tx:
        await rule_versions.save(tx, versions("a", "b"))
        await rule_versions.save(tx, versions(*names))

        assert await tx.fetchval("SELECT string_agg(version, '' ORDER BY version) FROM rule_versions") == kept
