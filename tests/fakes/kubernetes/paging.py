"""Lists in pages: every page shows the same moment, until that moment is compacted away."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from json import dumps, loads

from . import refusals
from .api import Api, list_of
from .requests import Address, Options
from .resources import Object, key_of
from .store import Store


def page_of(store: Store, api: Api, at: Address, *, options: Options) -> Object:
    version, start = _where(store, options)
    objects = api.matching(at, options, version=version if version < store.version else None)
    rest = [obj for obj in objects if start is None or key_of(obj) > start]
    page = rest[: options.limit] if options.limit else rest
    metadata: Object = {"resourceVersion": str(version)}
    if len(page) < len(rest):
        metadata["continue"] = _token(version, key_of(page[-1]))
        if not options.labels and not options.fields:
            metadata["remainingItemCount"] = len(rest) - len(page)
    return list_of(at.resource, page, metadata)


def _where(store: Store, options: Options) -> tuple[int, tuple[str, str] | None]:
    """The version to show, and the key after which the page starts."""
    if options.continues:
        version, start = _read_token(options.continues)
        if version < store.compacted:
            raise refusals.expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new "
                "list without the continue parameter."
            )
        return version, start
    asked = int(options.version or 0)
    if asked > store.version:
        raise refusals.from_the_future(asked, store.version)
    if not options.is_exact:
        return store.version, None
    if asked < store.compacted:
        raise refusals.expired("The resourceVersion for the provided list is too old.")
    return asked, None


def _token(version: int, last: tuple[str, str]) -> str:
    return urlsafe_b64encode(dumps({"v": "meta.k8s.io/v1", "rv": version, "start": last}).encode()).decode()


def _read_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        read = loads(urlsafe_b64decode(token))
        namespace, name = read["start"]
        return read["rv"], (namespace, name)
    except (ValueError, KeyError, TypeError) as error:
        raise refusals.bad_request(f"invalid continue token: continue key is not valid: {error}") from error
