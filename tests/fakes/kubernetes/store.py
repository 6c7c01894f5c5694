"""What etcd and the generic registry do: versions, optimistic locking, and a history that can be compacted."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from uuid import NAMESPACE_OID, uuid5

from . import refusals
from .resources import Object, Resource, copy_of, key_of

Clock = Callable[[], datetime]


class Happened(StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Change:
    version: int
    happened: Happened
    resource: Resource
    obj: Object
    previous: Object | None


def timestamp(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """Everything handed out is a copy: only `create`, `update` and `remove` change what is stored."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.version = 100
        self.compacted = 0
        self.history: list[Change] = []
        self.changed = asyncio.Event()
        self._objects: dict[Resource, dict[tuple[str, str], Object]] = {}
        self._made = 0

    def now(self) -> str:
        return timestamp(self.clock())

    def find(self, resource: Resource, namespace: str, name: str) -> Object | None:
        return copy_of(self._table(resource).get((namespace, name)))

    def get(self, resource: Resource, namespace: str, name: str) -> Object:
        found = self.find(resource, namespace, name)
        if found is None:
            raise refusals.not_found(resource, name)
        return found

    def all(self, resource: Resource, namespace: str = "") -> list[Object]:
        """In the order of their keys, as etcd has them."""
        return [copy_of(obj) for key, obj in sorted(self._table(resource).items()) if namespace in {"", key[0]}]

    def all_at(self, resource: Resource, version: int) -> list[Object]:
        """As it was then: today, with what has happened since taken back."""
        then = dict(self._table(resource))
        for change in reversed([c for c in self.history if c.version > version and c.resource == resource]):
            if change.previous is None:
                del then[key_of(change.obj)]
            else:
                then[key_of(change.obj)] = change.previous
        return [copy_of(obj) for _, obj in sorted(then.items(), key=lambda item: item[0])]

    def create(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        key = key_of(obj)
        if key in self._table(resource):
            raise refusals.already_exists(resource, key[1])
        self._made += 1
        metadata = {**obj["metadata"], "uid": str(uuid5(NAMESPACE_OID, f"{resource.plural}{self._made}"))}
        metadata |= {"creationTimestamp": self.now()}
        if resource.counts_generations:
            metadata["generation"] = 1
        created = {**copy_of(obj), "metadata": copy_of(metadata)}
        if not dry_run:
            self._record(Happened.ADDED, resource, created, previous=None)
        return copy_of(created)

    def update(self, resource: Resource, obj: Object, *, dry_run: bool = False) -> Object:
        """Changes nothing, not even the version, when the object is as it was."""
        key = key_of(obj)
        current = self.get(resource, *key)
        self._check_identity(resource, obj, current)
        updated = copy_of(obj)
        kept = ("uid", "creationTimestamp", "resourceVersion", "generation", "deletionTimestamp")
        updated["metadata"] |= {name: current["metadata"][name] for name in kept if name in current["metadata"]}
        if updated == current:
            return current
        if resource.counts_generations and updated.get("spec") != current.get("spec"):
            updated["metadata"]["generation"] = current["metadata"].get("generation", 0) + 1
        if not dry_run:
            self._record(Happened.MODIFIED, resource, updated, previous=current)
        return copy_of(updated)

    def remove(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        *,
        uid: str | None = None,
        version: str | None = None,
        dry_run: bool = False,
    ) -> Object:
        current = self.get(resource, namespace, name)
        for field, asked, found in (
            ("UID", uid, current["metadata"]["uid"]),
            ("ResourceVersion", version, current["metadata"]["resourceVersion"]),
        ):
            if asked is not None and asked != found:
                raise refusals.delete_precondition_failed(resource, name, field=field, asked=asked, found=found)
        if not dry_run:
            self._record(Happened.DELETED, resource, current, previous=current)
        return current

    def compact(self) -> None:
        self.compacted = self.version
        self.history.clear()

    def changes_after(self, version: int, resource: Resource) -> Iterator[Change]:
        return (change for change in list(self.history) if change.version > version and change.resource == resource)

    def _check_identity(self, resource: Resource, obj: Object, current: Object) -> None:
        metadata, found = obj["metadata"], current["metadata"]
        if metadata.get("uid", found["uid"]) != found["uid"]:
            raise refusals.another_uid(
                resource, "/".join(key_of(current)).lstrip("/"), asked=metadata["uid"], found=found["uid"]
            )
        version = metadata.get("resourceVersion")
        if version and version != found["resourceVersion"]:
            raise refusals.stale(resource, found["name"])

    def _record(self, happened: Happened, resource: Resource, obj: Object, *, previous: Object | None) -> None:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        if happened is Happened.DELETED:
            del self._table(resource)[key_of(obj)]
        else:
            self._table(resource)[key_of(obj)] = obj
        self.history.append(Change(self.version, happened, resource, copy_of(obj), copy_of(previous)))
        self.changed.set()
        self.changed = asyncio.Event()

    def _table(self, resource: Resource) -> dict[tuple[str, str], Object]:
        return self._objects.setdefault(resource, {})
