"""Watches: what has changed since a version, line by line, with bookmarks and the 410 of a compacted past."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

from .api import Api, selector
from .refusals import expired
from .requests import Address, Options
from .resources import Object
from .store import Change, Happened, Store

_NO_END = 3600.0


async def events_of(store: Store, api: Api, at: Address, *, options: Options) -> AsyncIterator[Object]:
    """Ends after the watch's timeout, with a bookmark where one was asked for."""
    seen = int(options.version or 0)
    if options.version and 0 < seen < store.compacted:
        gone = expired(f"too old resource version: {seen} ({store.compacted})")
        yield {"type": "ERROR", "object": gone.status}
        return
    if not seen or options.wants_initial_events:
        seen = store.version
        for obj in api.matching(at, options):
            yield {"type": "ADDED", "object": obj}
        if options.wants_initial_events:
            yield _bookmark(at, seen, {"k8s.io/initial-events-end": "true"})
    loop = asyncio.get_running_loop()
    end = loop.time() + (_NO_END if options.timeout is None else options.timeout)
    while True:
        changed, reached = store.changed, store.version
        for event in _events(store.changes_after(seen, at.resource), at, options):
            yield event
        seen = max(seen, reached)
        try:
            await asyncio.wait_for(changed.wait(), end - loop.time())
        except TimeoutError:
            break
    if options.wants_bookmarks:
        yield _bookmark(at, seen, {})


def _events(changes: Iterator[Change], at: Address, options: Options) -> Iterator[Object]:
    holds = selector(at, options)
    for change in changes:
        was_in = change.previous is not None and holds(change.previous)
        is_in = change.happened is not Happened.DELETED and holds(change.obj)
        if is_in:
            yield {"type": Happened.MODIFIED if was_in else Happened.ADDED, "object": change.obj}
        elif was_in:
            yield {"type": Happened.DELETED, "object": change.obj}


def _bookmark(at: Address, version: int, annotations: dict[str, Any]) -> Object:
    metadata: Object = {"resourceVersion": str(version)}
    if annotations:
        metadata["annotations"] = annotations
    obj = {"kind": at.resource.kind, "apiVersion": at.resource.api_version, "metadata": metadata}
    return {"type": "BOOKMARK", "object": obj}
