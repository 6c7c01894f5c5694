"""What we made up ourselves where the settings name none: one for all replicas. Whoever proposes first wins, the others
follow."""

from remediator.store.database import Connection


async def link_secret(tx: Connection, proposed: str) -> str:
    """Signs acknowledge links."""
    await tx.execute("INSERT INTO link_secret (secret) VALUES ($1) ON CONFLICT DO NOTHING", proposed)
    secret: str = await tx.fetchval("SELECT secret FROM link_secret")
    return secret


async def api_token(tx: Connection, proposed: str) -> str:
    """Opens the API, with every role."""
    await tx.execute("INSERT INTO api_token (token) VALUES ($1) ON CONFLICT DO NOTHING", proposed)
    token: str = await tx.fetchval("SELECT token FROM api_token")
    return token
