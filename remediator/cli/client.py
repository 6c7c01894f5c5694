"""Speaks to a running daemon's API on behalf of the command line."""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import click

from remediator.cli.exits import BadSettings, Refused
from remediator.cli.tables import one_line


@dataclass(frozen=True, slots=True)
class Api:
    """Each call names a field of the answer that it needs: whoever answers without it is no Remediator."""

    url: str
    token: str

    def get(self, path: str, *, having: str) -> Any:
        return asyncio.run(self._call("GET", path, None, having=having))

    def post(self, path: str, body: object, *, having: str) -> Any:
        return asyncio.run(self._call("POST", path, body, having=having))

    def put(self, path: str, body: object, *, having: str) -> Any:
        return asyncio.run(self._call("PUT", path, body, having=having))

    async def _call(self, method: str, path: str, body: object, *, having: str) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        timeout = aiohttp.ClientTimeout(total=30)
        try:
            async with (
                aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
                session.request(method, self.url + path, json=body) as response,
            ):
                answer = _object_in(await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise click.ClickException(
                f"cannot reach {self.url}: {error}. Is `remediator serve` running there?"
            ) from error
        if response.status < 300 and having in answer:
            return answer
        told = one_line(str(answer.get("detail") or answer.get("title") or ""))[:500]
        if response.status < 300 or not told:
            raise click.ClickException(
                f"this is not a Remediator at {self.url}: it answered {path} with {response.status} and "
                f"{response.content_type}; give the daemon's address by --url or REMEDIATOR_URL"
            )
        raise Refused(told) if response.status in {401, 403, 409} else click.ClickException(told)


def _object_in(body: bytes) -> dict[str, Any]:
    """The answer, or the RFC 9457 problem; empty where it is neither: another server, or one that stands before."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def api_options(function: Any) -> Any:
    """Adds --url, --token and --data-dir, and passes an `Api` as `api`."""

    @click.option("--url", envvar="REMEDIATOR_URL", default="http://127.0.0.1:8080", show_default=True)
    @click.option("--token", envvar="REMEDIATOR_TOKEN", help="An API token. Default: the one the daemon keeps.")
    @click.option("--data-dir", envvar="REMEDIATOR_DATA_DIR", default=".data", type=click.Path(path_type=Path))
    @click.pass_context
    def with_api(context: click.Context, /, url: str, token: str | None, data_dir: Path, **parameters: Any) -> Any:
        api = Api(_address(url), _sendable((token or "").strip() or _kept_token(data_dir)))
        return context.invoke(function, api=api, **parameters)

    with_api.__name__ = function.__name__
    with_api.__doc__ = function.__doc__
    if hasattr(function, "__click_params__"):
        with_api.__click_params__ = [*function.__click_params__, *with_api.__click_params__]  # type: ignore[attr-defined]
    return with_api


def _address(url: str) -> str:
    if not url.lower().startswith(("http://", "https://")):
        raise BadSettings(f"--url {url!r} names no scheme: write http:// or https:// before it, as in http://{url}")
    return url.rstrip("/")


def _sendable(token: str) -> str:
    if not token.isprintable():
        raise BadSettings("the API token holds a line break or another control character: copy it anew, in one piece")
    return token


def _kept_token(data_dir: Path) -> str:
    path, instead = data_dir / "api-token", "give --token, set REMEDIATOR_TOKEN, or name the daemon's --data-dir"
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        raise BadSettings(f"no API token: {instead} ({path} is not there)") from error
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise BadSettings(f"no API token: {instead} ({path} cannot be read: {why})") from error
