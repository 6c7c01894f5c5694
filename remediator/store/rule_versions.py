"""The rules as they are and were: an incident finishes on the version it began with. What no incident refers to, and no
replica has had in force for long, retention forgets."""

from collections.abc import Mapping, Sequence

import msgspec

from remediator.domain.errors import NotFound
from remediator.domain.ids import RuleName, RuleVersion
from remediator.store.database import Connection

_KNOWN = "SELECT version FROM rule_versions WHERE version = ANY($1::text[])"
_INSERT = """
INSERT INTO rule_versions (version, rule, document)
SELECT * FROM unnest($1::text[], $2::text[], $3::jsonb[])
ON CONFLICT DO NOTHING"""


async def save(tx: Connection, versions: Sequence[tuple[RuleVersion, RuleName, Mapping[str, object]]]) -> None:
    """Most starts and reloads bring few new versions, so only those travel."""
    known = {record["version"] for record in await tx.fetch(_KNOWN, [version for version, _, _ in versions])}
    # In one order everywhere: replicas that start together must not wait for each other in a circle.
    missing = sorted((v for v in versions if v[0] not in known), key=lambda v: v[0])
    if missing:
        await tx.execute(
            _INSERT,
            [version for version, _, _ in missing],
            [rule for _, rule, _ in missing],
            [msgspec.to_builtins(document) for _, _, document in missing],
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
