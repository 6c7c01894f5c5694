"""The verbs on objects: what a request means for the store, and the controllers' turn after each write."""

from collections.abc import Callable
from typing import Any

from . import refusals
from .admission import invalid, prepare_create, prepare_update, require_version
from .controllers import Controllers
from .patches import apply_patch
from .requests import Address, Options, missing_namespace
from .resources import (
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    RESOURCES,
    Object,
    Resource,
    controller_of,
)
from .rollouts import short_hash
from .scaling import owned_by, scale_of, with_replicas
from .selectors import field_matcher, label_matcher
from .store import Store

APPLY = "application/apply-patch+yaml"
Answer = tuple[int, Object]


class Api:
    def __init__(self, store: Store, controllers: Controllers) -> None:
        self._store = store
        self._controllers = controllers
        self._named = 0

    def get(self, at: Address) -> Answer:
        found = self._store.get(at.resource, at.namespace, at.name)
        match at.subresource:
            case "" | "status":
                return 200, found
            case "scale" if at.resource.has_scale:
                return 200, scale_of(found)
            case _:
                raise _no_such_resource()

    def create(self, at: Address, body: Object, options: Options) -> Answer:
        if at.name:
            return self._create_under(at, body, options)
        metadata = body.setdefault("metadata", {})
        if not metadata.get("name") and metadata.get("generateName"):
            self._named += 1
            metadata["name"] = metadata["generateName"] + short_hash(self._named, 5)
        obj = prepare_create(at.resource, body, at.namespace)
        self._require_namespace(at)
        created = self._store.create(at.resource, obj, dry_run=options.is_dry_run)
        return 201, self._settled(at.resource, created, options)

    def replace(self, at: Address, body: Object, options: Options) -> Answer:
        current = self._store.get(at.resource, at.namespace, at.name)
        if at.subresource == "scale":
            return self._rescale(at, current, body, options)
        require_version(at.resource, body)
        return self._write(at, body, current, options)

    def patch(self, at: Address, content_type: str, *, patch: Any, options: Options) -> Answer:
        if content_type == APPLY:
            _check_apply(options)
            if self._store.find(at.resource, at.namespace, at.name) is None and not at.subresource:
                return self.create(Address(at.resource, at.namespace), patch, options)
        current = self._store.get(at.resource, at.namespace, at.name)
        if at.subresource == "scale":
            return self._rescale(at, current, apply_patch(content_type, scale_of(current), patch), options)
        patched = apply_patch(content_type, current, patch)
        _check_same_uid(at.resource, patched, current)
        return self._write(at, patched, current, options)

    def delete(self, at: Address, body: Object | None, options: Options) -> Answer:
        given = body or {}
        preconditions = given.get("preconditions") or {}
        removed = self._store.remove(
            at.resource,
            at.namespace,
            at.name,
            uid=preconditions.get("uid"),
            version=preconditions.get("resourceVersion"),
            dry_run=options.is_dry_run,
        )
        if not options.is_dry_run:
            self._let_go(at, removed, is_orphaning=given.get("propagationPolicy") == "Orphan")
        if not at.resource.returns_deleted:
            return 200, refusals.deleted(at.resource, at.name, removed["metadata"]["uid"])
        removed["metadata"] |= {"deletionTimestamp": self._store.now()}
        if at.resource == PODS:
            grace = given.get("gracePeriodSeconds", removed["spec"]["terminationGracePeriodSeconds"])
            removed["metadata"]["deletionGracePeriodSeconds"] = grace
        return 200, removed

    def delete_all(self, at: Address, body: Object | None, options: Options) -> Answer:
        doomed = self.matching(at, options)
        for obj in doomed:
            metadata = obj["metadata"]
            self.delete(Address(at.resource, metadata.get("namespace", ""), metadata["name"]), body, options)
        return 200, list_of(at.resource, doomed, {"resourceVersion": str(self._store.version)})

    def matching(self, at: Address, options: Options, *, version: int | None = None) -> list[Object]:
        objects = self._store.all(at.resource) if version is None else self._store.all_at(at.resource, version)
        return list(filter(selector(at, options), objects))

    def _write(self, at: Address, body: Object, current: Object, options: Options) -> Answer:
        if at.subresource not in {"", "status"}:
            raise _no_such_resource()
        obj = prepare_update(at.resource, body, current, subresource=at.subresource)
        owned = owned_by(obj, current, manager=options.field_manager)
        updated = self._store.update(at.resource, owned, dry_run=options.is_dry_run)
        return 200, self._settled(at.resource, updated, options)

    def _rescale(self, at: Address, current: Object, scale: Object, options: Options) -> Answer:
        if not at.resource.has_scale:
            raise _no_such_resource()
        rescaled = owned_by(with_replicas(current, scale), current, manager=options.field_manager, subresource="scale")
        updated = self._store.update(at.resource, rescaled, dry_run=options.is_dry_run)
        if not options.is_dry_run:
            self._controllers.settle()
        return 200, scale_of(updated)

    def _create_under(self, at: Address, body: Object, options: Options) -> Answer:
        if not at.subresource:
            raise refusals.method_not_allowed()
        if (at.resource, at.subresource) != (PODS, "eviction"):
            raise _no_such_resource()
        pod = self._store.get(PODS, at.namespace, at.name)
        self._controllers.budgets.check(pod)
        self.delete(Address(PODS, at.namespace, at.name), body.get("deleteOptions"), options)
        return 201, refusals.success(201)

    def _require_namespace(self, at: Address) -> None:
        if at.resource.is_namespaced and self._store.find(NAMESPACES, "", at.namespace) is None:
            raise missing_namespace(at.namespace)

    def _settled(self, resource: Resource, written: Object, options: Options) -> Object:
        """What the client sees is what it wrote, not what the controllers made of it since."""
        if not options.is_dry_run:
            self._controllers.settle()
        return written

    def _let_go(self, at: Address, removed: Object, *, is_orphaning: bool) -> None:
        if at.resource == NAMESPACES:
            for resource in RESOURCES:
                for obj in self._store.all(resource, at.name) if resource.is_namespaced else ():
                    self._store.remove(resource, at.name, obj["metadata"]["name"])
        for resource in (REPLICA_SETS, PODS) if is_orphaning else ():
            for obj in self._store.all(resource, at.namespace):
                owner = controller_of(obj)
                if owner is not None and owner["uid"] == removed["metadata"]["uid"]:
                    obj["metadata"].pop("ownerReferences")
                    self._store.update(resource, obj)
        self._controllers.settle()


def selector(at: Address, options: Options) -> Callable[[Object], bool]:
    has_labels, has_fields = label_matcher(options.labels), field_matcher(at.resource, options.fields)

    def holds(obj: Object) -> bool:
        metadata = obj["metadata"]
        return (
            at.namespace in {"", metadata.get("namespace")}
            and at.name in {"", metadata["name"]}
            and has_labels(metadata.get("labels") or {})
            and has_fields(obj)
        )

    return holds


def list_of(resource: Resource, objects: list[Object], metadata: Object) -> Object:
    """Items in lists do not say their kind; the real server leaves it out too."""
    items = [{key: value for key, value in obj.items() if key not in {"kind", "apiVersion"}} for obj in objects]
    return {"kind": f"{resource.kind}List", "apiVersion": resource.api_version, "metadata": metadata, "items": items}


def _check_same_uid(resource: Resource, patched: Object, current: Object) -> None:
    """A patch may not change it; a replace with another one is a conflict instead."""
    asked, found = patched["metadata"].get("uid"), current["metadata"]["uid"]
    if asked not in {None, found}:
        message = f'Invalid value: "{asked}": field is immutable'
        raise invalid(resource, current["metadata"]["name"], "metadata.uid", message)


def _check_apply(options: Options) -> None:
    if not options.field_manager:
        raise refusals.invalid(
            "PatchOptions",
            "",
            group="meta.k8s.io",
            field="fieldManager",
            cause="FieldValueRequired",
            message="Required value: is required for apply patch",
        )


def _no_such_resource() -> refusals.Refused:
    return refusals.Refused(404, "the server could not find the requested resource", reason="NotFound", details={})
