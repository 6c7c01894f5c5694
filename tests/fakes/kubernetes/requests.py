"""What is asked of the server: an address, the options in the query, and a recording of every request for asserting."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from . import refusals
from .resources import NAMESPACES, Object, Resource, resource_at

_READING = {"GET", "HEAD"}


@dataclass(frozen=True, slots=True)
class Address:
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def address_of(path: str) -> Address | None:
    """None for what this server does not serve."""
    match path.strip("/").split("/"):
        case ["api", "v1", *rest]:
            group, version = "", "v1"
        case ["apis", group, version, *rest]:
            pass
        case _:
            return None
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces" and (rest[2] != "status" or len(rest) > 3):
        namespace, rest = rest[1], rest[2:]
    if not rest or len(rest) > 3:
        return None
    resource = resource_at(group, version, rest[0])
    if resource is None or bool(namespace and not resource.is_namespaced):
        return None
    return Address(resource, namespace, *rest[1:])


@dataclass(frozen=True, slots=True)
class Options:
    """The query of a request."""

    labels: str = ""
    fields: str = ""
    limit: int = 0
    continues: str = ""
    version: str = ""
    is_exact: bool = False
    is_watch: bool = False
    wants_bookmarks: bool = False
    wants_initial_events: bool = False
    timeout: float | None = None
    field_manager: str = ""
    is_dry_run: bool = False


_OPTIONS_KIND = {"POST": "CreateOptions", "PUT": "UpdateOptions", "PATCH": "PatchOptions", "DELETE": "DeleteOptions"}


def options_of(method: str, query: Mapping[str, str], body: Any) -> Options:
    asked = _dry_run_asked(method, query, body)
    for value in asked:
        if value != "All":
            raise refusals.invalid(
                _OPTIONS_KIND.get(method, "ListOptions"),
                "",
                group="meta.k8s.io",
                field="dryRun",
                cause="FieldValueNotSupported",
                message=f'Unsupported value: ["{value}"]: supported values: "All"',
            )
    return Options(
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        limit=int(query.get("limit") or 0),
        continues=query.get("continue", ""),
        version=query.get("resourceVersion", ""),
        is_exact=query.get("resourceVersionMatch") == "Exact",
        is_watch=_is_true(query, "watch"),
        wants_bookmarks=_is_true(query, "allowWatchBookmarks"),
        wants_initial_events=_is_true(query, "sendInitialEvents"),
        timeout=float(query["timeoutSeconds"]) if query.get("timeoutSeconds") else None,
        field_manager=query.get("fieldManager", ""),
        is_dry_run=bool(asked),
    )


def _is_true(query: Mapping[str, str], name: str) -> bool:
    """As the server reads booleans: Python's `True` is one too."""
    return name in query and query[name].lower() not in {"false", "0"}


def _dry_run_asked(method: str, query: Mapping[str, str], body: Any) -> list[str]:
    """Where the server reads it: of a DELETE with a body there alone, of an eviction in both, else in the query."""
    in_query = [query["dryRun"]] if "dryRun" in query else []
    given = body if isinstance(body, dict) else {}
    if method == "DELETE" and body is not None:
        return _listed(given)
    if method == "POST" and given.get("kind") == "Eviction":
        return in_query or _listed(given.get("deleteOptions") or {})
    return in_query


def _listed(options: Object) -> list[str]:
    dry_run = options.get("dryRun")
    return list(dry_run) if isinstance(dry_run, list) else []


@dataclass(slots=True)
class Recorded:
    method: str
    path: str
    query: dict[str, str]
    body: Any
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    answered: int = 0
    """The status; 0 until there is one."""

    @property
    def is_dry_run(self) -> bool:
        return bool(_dry_run_asked(self.method, self.query, self.body))

    @property
    def is_write(self) -> bool:
        """Whether this could have changed the cluster."""
        asks_access = self.path.endswith("/selfsubjectaccessreviews")
        return self.method not in _READING and not self.is_dry_run and not asks_access


class Recording(list[Recorded]):
    @property
    def writes(self) -> list[Recorded]:
        return [request for request in self if request.is_write]

    @property
    def effects(self) -> list[Recorded]:
        """The writes that the server carried out."""
        return [write for write in self.writes if 200 <= write.answered < 300]


@dataclass(slots=True)
class Fitting:
    """The next requests that something scripted befalls."""

    method: str | None = None
    path: str = ""
    """Any part of the path."""
    times: int = 1
    writes_only: bool = False
    """Neither looks nor rehearsals."""
    hides: int = 0
    """The next so many looks at what was written are refused."""

    def takes(self, request: Recorded) -> bool:
        """Whether this is one of them; then it counts."""
        fits = self.times > 0 and self.method in {None, request.method} and self.path in request.path
        fits = fits and (request.is_write or not self.writes_only)
        self.times -= fits
        return fits


@dataclass(slots=True)
class Script:
    answers: list[tuple[Fitting, refusals.Refused]] = field(default_factory=list)
    """Given instead of the true answer, and nothing is done."""
    hang_ups: list[Fitting] = field(default_factory=list)
    """It is done, and the connection is cut instead of an answer."""

    def check(self, request: Recorded) -> None:
        for fitting, refused in self.answers:
            if fitting.takes(request):
                raise refused

    def hangs_up(self, request: Recorded) -> bool:
        fitting = next((fitting for fitting in self.hang_ups if fitting.takes(request)), None)
        if fitting is not None:
            written = request.path.removesuffix("/eviction").removesuffix("/scale")
            refused = refusals.Refused(500, "the fake was told to hide it")
            self.answers.append((Fitting("GET", written, fitting.hides), refused))
        return fitting is not None


def verb_of(method: str, address: Address, options: Options) -> str:
    """The word RBAC uses."""
    match method:
        case "GET" if address.name:
            return "get"
        case "GET":
            return "watch" if options.is_watch else "list"
        case "POST":
            return "create"
        case "PUT":
            return "update"
        case "PATCH":
            return "patch"
        case "DELETE":
            return "delete" if address.name else "deletecollection"
        case _:
            raise refusals.method_not_allowed()


def missing_namespace(name: str) -> refusals.Refused:
    return refusals.not_found(NAMESPACES, name)
