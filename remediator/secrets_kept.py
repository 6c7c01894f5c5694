"""The daemon's own secrets, where the settings name none: made once, kept in the database for all replicas."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import structlog
from pydantic import SecretStr

from remediator.domain.errors import BadDocument
from remediator.settings import ApiToken, Settings
from remediator.store import shared_secrets
from remediator.store.database import Database

log = structlog.get_logger()

API_TOKEN_FILE = "api-token"  # noqa: S105  # a file's name
LINK_SECRET_FILE = "link-secret"  # noqa: S105  # a file's name

OWNER = "owner"
OWNER_HERE = "owner, by this folder's token"


async def link_secret(settings: Settings, database: Database) -> bytes:
    """Signs acknowledge links; all replicas must have the same."""
    if settings.link_secret is not None:
        return settings.link_secret.get_secret_value().encode()
    # An earlier release kept it in a file: links that people have already been sent stay good.
    proposed = _read(settings.data_dir / LINK_SECRET_FILE) or _made_up()
    async with database.transaction() as tx:
        return (await shared_secrets.link_secret(tx, proposed)).encode()


async def api_tokens(settings: Settings, database: Database) -> Mapping[str, ApiToken]:
    """Those of the settings, else one with every role. It stands in the data folder too, where the command line looks.

    A folder of an earlier release has a token of its own. The first becomes everybody's; another one goes on working
    where its folder is, and nowhere else, as it always did.
    """
    if settings.api_tokens:
        return settings.api_tokens
    path = settings.data_dir / API_TOKEN_FILE
    here = _read(path)
    async with database.transaction() as tx:
        token = await shared_secrets.api_token(tx, here or _made_up())
    if not here:
        _write(path, token)
    elif here != token:
        log.warning("an api token of this folder's own: no other replica takes it; remove the file", file=str(path))
        return {OWNER: _every_role(token), OWNER_HERE: _every_role(here)}
    return {OWNER: _every_role(token)}


def _every_role(token: str) -> ApiToken:
    return ApiToken(token=SecretStr(token), roles={"read", "respond", "approve"})


def _made_up() -> str:
    return secrets.token_urlsafe(32)


def _read(path: Path) -> str:
    """Empty: not there, or its writer died before it had a word in it."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise BadDocument(f"the secret in {path} cannot be read ({error}): mend or remove it") from error


def _write(path: Path, secret: str) -> None:
    """For us alone to read, and never there by half."""
    half = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.unlink(missing_ok=True)
        with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secret)
        half.replace(path)
    except OSError as error:
        raise BadDocument(
            f"{path} cannot be written ({error}): name a data_dir that can be, or `api_tokens`"
        ) from error
