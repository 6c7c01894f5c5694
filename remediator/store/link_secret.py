"""The secret that signs acknowledge links, where the settings name none: one for all replicas."""

from remediator.store.database import Connection


async def shared(tx: Connection, proposed: str) -> str:
    """The one in force; `proposed` becomes it where there is none yet. Whoever comes first wins, the others follow."""
    await tx.execute("INSERT INTO link_secret (secret) VALUES ($1) ON CONFLICT DO NOTHING", proposed)
    secret: str = await tx.fetchval("SELECT secret FROM link_secret")
    return secret
