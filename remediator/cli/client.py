"""Speaks to a running daemon's API on behalf of the command line."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import click

from remediator.cli.exits import BadSettings, Refused


@dataclass(frozen=True, slots=True)
class Api:
    url: str
    token: str

    def get(self, path: str) -> Any:
        return asyncio.run(self._call("GET", path, None))

    def post(self, path: str, body: object) -> Any:
        return asyncio.run(self._call("POST", path, body))

    def put(self, path: str, body: object) -> Any:
        return asyncio.run(self._call("PUT", path, body))

    async def _call(self, method: str, path: str, body: object) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        timeout = aiohttp.ClientTimeout(total=30)
        try:
            async with (
                aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
                session.request(method, self.url + path, json=body) as response,
            ):
                text = await response.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise click.ClickException(
                f"cannot reach {self.url}: {error}. Is `remediator serve` running there?"
            ) from error
        if response.status < 300:
            return json.loads(text)
        if response.status in {401, 403, 409}:
            raise Refused(_told(text))
        raise click.ClickException(_told(text))


def _told(text: str) -> str:
    """The `detail` of an RFC 9457 problem, or the text as it is."""
    try:
        problem = json.loads(text)
    except ValueError:
        return text[:500]
    return str(problem.get("detail") or problem.get("title") or text)[:500]


def api_options(function: Any) -> Any:
    """Adds --url, --token and --data-dir, and passes an `Api` as `api`."""

    @click.option("--url", envvar="REMEDIATOR_URL", default="http://127.0.0.1:8080", show_default=True)
    @click.option("--token", envvar="REMEDIATOR_TOKEN", help="An API token. Default: the one the daemon keeps.")
    @click.option("--data-dir", envvar="REMEDIATOR_DATA_DIR", default=".data", type=click.Path(path_type=Path))
    @click.pass_context
    def with_api(context: click.Context, /, url: str, token: str | None, data_dir: Path, **parameters: Any) -> Any:
        found = token or _kept_token(data_dir)
        return context.invoke(function, api=Api(url.rstrip("/"), found), **parameters)

    with_api.__name__ = function.__name__
    with_api.__doc__ = function.__doc__
    if hasattr(function, "__click_params__"):
        with_api.__click_params__ = [*function.__click_params__, *with_api.__click_params__]  # type: ignore[attr-defined]
    return with_api


def _kept_token(data_dir: Path) -> str:
    path = data_dir / "api-token"
    if not path.exists():
        raise BadSettings(
            f"no API token: give --token, set REMEDIATOR_TOKEN, or name the daemon's --data-dir ({path} is not there)"
        )
    return path.read_text().strip()
