"""The daemon's own secrets, where the settings name none: made once, kept where only we read them."""

import os
import secrets
from pathlib import Path

from pydantic import SecretStr

from remediator.settings import ApiToken, Settings
from remediator.store.database import Database
from remediator.store.link_secret import shared

API_TOKEN_FILE = "api-token"  # noqa: S105  # a file's name
LINK_SECRET_FILE = "link-secret"  # noqa: S105  # a file's name


async def link_secret(settings: Settings, database: Database) -> bytes:
    """Signs acknowledge links; all replicas must have the same. Where the settings name none, the database keeps it."""
    if settings.link_secret is not None:
        return settings.link_secret.get_secret_value().encode()
    async with database.transaction() as tx:
        return (await shared(tx, _proposed(settings.data_dir / LINK_SECRET_FILE))).encode()


def api_tokens(settings: Settings) -> dict[str, ApiToken]:
    """Those of the settings, else one with every role."""
    if settings.api_tokens:
        return settings.api_tokens
    token = SecretStr(_kept(settings.data_dir / API_TOKEN_FILE))
    return {"owner": ApiToken(token=token, roles={"read", "respond", "approve"})}


def _proposed(path: Path) -> str:
    """The one an earlier release kept in a file, so that links people have already been sent stay good."""
    return path.read_text().strip() if path.is_file() else secrets.token_urlsafe(32)


def _kept(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
    except FileExistsError:
        pass  # kept from an earlier start
    return path.read_text().strip()
