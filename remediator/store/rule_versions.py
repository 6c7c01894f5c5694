"""Every version of every rule that was ever in force: an open incident finishes on the one it began with."""

from collections.abc import Mapping, Sequence

from remediator.domain.errors import NotFound
from remediator.domain.ids import RuleName, RuleVersion
from remediator.store.database import Connection
from remediator.store.documents import to_document


async def save(tx: Connection, versions: Sequence[tuple[RuleVersion, RuleName, Mapping[str, object]]]) -> None:
    await tx.executemany(
        "INSERT INTO rule_versions (version, rule, document) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        [(version, rule, to_document(document)) for version, rule, document in sorted(versions, key=lambda v: v[0])],
    )


async def still_in_force(tx: Connection, versions: Sequence[RuleVersion]) -> None:
    """Keeps them from being forgotten, although no incident may refer to them. Once a day is enough."""
    await tx.execute(
        "UPDATE rule_versions SET seen_at = now() WHERE version = ANY($1) AND seen_at < now() - interval '1 day'",
        sorted(versions),
    )


async def load(connection: Connection, version: RuleVersion) -> Mapping[str, object]:
    document: Mapping[str, object] | None = await connection.fetchval(
        "SELECT document FROM rule_versions WHERE version = $1", version
    )
    if document is None:
        raise NotFound(f"no rule of version {version} was ever stored here")
    return document
