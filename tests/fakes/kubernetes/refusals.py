"""How an API server says no: one exception that carries a whole Status, and a constructor for each way to refuse."""

from typing import Any

from .resources import Object, Resource


class Refused(Exception):
    """A request that is answered with a Status of failure."""

    def __init__(
        self,
        code: int,
        message: str,
        *,
        reason: str = "",
        details: Object | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason
        self.details = details
        self.retry_after = retry_after

    @property
    def status(self) -> Object:
        body: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        body["message"] = self.message
        if self.reason:
            body["reason"] = self.reason
        if self.details is not None or self.retry_after:
            body["details"] = dict(self.details or {})
        if self.retry_after:
            body["details"]["retryAfterSeconds"] = self.retry_after
        return {**body, "code": self.code}


def success(code: int | None = None, details: Object | None = None) -> Object:
    body: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details is not None:
        body["details"] = details
    if code is not None:
        body["code"] = code
    return body


def _details(resource: Resource, name: str, **more: Any) -> Object:
    details: Object = {"name": name} if name else {}
    if resource.group:
        details["group"] = resource.group
    return {**details, "kind": resource.plural, **more}


def deleted(resource: Resource, name: str, uid: str) -> Object:
    return success(details=_details(resource, name, uid=uid))


def not_found(resource: Resource, name: str) -> Refused:
    return Refused(404, f'{resource.qualified} "{name}" not found', reason="NotFound", details=_details(resource, name))


def already_exists(resource: Resource, name: str) -> Refused:
    return Refused(
        409, f'{resource.qualified} "{name}" already exists', reason="AlreadyExists", details=_details(resource, name)
    )


def stale(resource: Resource, name: str) -> Refused:
    why = "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return Refused(409, message, reason="Conflict", details=_details(resource, name))


def another_uid(resource: Resource, key: str, *, asked: str, found: str) -> Refused:
    """`key` is namespace/name: this refusal comes from the storage, which shows its own key."""
    name = key.rpartition("/")[2]
    why = (
        f"StorageError: invalid object, Code: 4, Key: /registry/{resource.plural}/{key}, ResourceVersion: 0, "
        f"AdditionalErrorMsg: Precondition failed: UID in precondition: {asked}, UID in object meta: {found}"
    )
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return Refused(409, message, reason="Conflict", details=_details(resource, name))


def delete_precondition_failed(resource: Resource, name: str, *, field: str, asked: str, found: str) -> Refused:
    happened = "deleted and then recreated" if field == "UID" else "modified"
    message = (
        f'Operation cannot be fulfilled on {resource.qualified_kind} "{name}": the {field} in the precondition '
        f"({asked}) does not match the {field} in record ({found}). The object might have been {happened}"
    )
    details = {**_details(resource, name), "kind": resource.kind}
    return Refused(409, message, reason="Conflict", details=details)


def invalid(kind: str, name: str, *, field: str, cause: str, message: str, group: str = "") -> Refused:
    """`kind` is a Kind, as in the details of the real answer; `cause` a word like FieldValueInvalid."""
    qualified = f"{kind}.{group}" if group else kind
    details: Object = {"name": name} if name else {}
    if group:
        details["group"] = group
    details |= {"kind": kind, "causes": [{"reason": cause, "message": message, "field": field}]}
    return Refused(422, f'{qualified} "{name}" is invalid: {field}: {message}', reason="Invalid", details=details)


def patch_does_not_apply() -> Refused:
    return Refused(422, "the server rejected our request due to an error in our request", reason="Invalid", details={})


def bad_request(message: str) -> Refused:
    return Refused(400, message, reason="BadRequest")


def method_not_allowed() -> Refused:
    message = "the server does not allow this method on the requested resource"
    return Refused(405, message, reason="MethodNotAllowed", details={})


def unknown_patch_type() -> Refused:
    return Refused(415, "415: Unsupported Media Type", reason="UnsupportedMediaType", details={})


def expired(message: str) -> Refused:
    return Refused(410, message, reason="Expired")


def from_the_future(asked: int, current: int) -> Refused:
    causes = [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    return Refused(504, message, reason="Timeout", details={"causes": causes}, retry_after=1)


def budget_exhausted(cause: str, *, retry_after: int | None = None) -> Refused:
    return Refused(
        429,
        "Cannot evict pod as it would violate the pod's disruption budget.",
        reason="TooManyRequests",
        details={"causes": [{"reason": "DisruptionBudget", "message": cause}]},
        retry_after=retry_after,
    )


def two_budgets() -> Refused:
    why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    return Refused(500, why)
