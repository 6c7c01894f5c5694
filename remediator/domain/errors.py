"""The one error tree. The class says whether to retry; the docstring is the sentence a person reads.

RemediatorError
├── BadDocument        what a person wrote is wrong (rule, setting): fix the file
├── BadPayload         what a machine sent is wrong: quarantined, answered 4xx
├── Unauthenticated    the sender did not prove who it is
├── NotFound           there is nothing by that id
├── NotAllowed         the request is understood and refused (state, permission, mode)
├── Overloaded         we cannot accept more now: answered 503
├── StaleFence         the lease was lost: this replica must not write
├── Outdated           something happened meanwhile: decide again
├── BudgetSpent        a reservation did not fit its budget
└── SystemFailure      another system failed us
    ├── Temporary      may work later: worth a retry
    ├── Permanent      will not work however often we try
    └── Ambiguous      sent, but the answer never came: it may have happened
"""


class RemediatorError(Exception):
    """Something Remediator can name went wrong."""


class BadDocument(RemediatorError):
    """What a person wrote cannot be used as it is."""


class BadPayload(RemediatorError):
    """What a machine sent cannot be read."""


class Unauthenticated(RemediatorError):
    """The sender did not prove who it is."""


class NotFound(RemediatorError):
    """There is nothing by that name or number."""


class NotAllowed(RemediatorError):
    """The request is understood, and refused."""


class Overloaded(RemediatorError):
    """More cannot be accepted now; send it again later."""


class StaleFence(RemediatorError):
    """The lease on this incident was lost; another replica owns it now."""


class Outdated(RemediatorError):
    """Something happened to the incident since this was decided: it must be decided again."""


class BudgetSpent(RemediatorError):
    """A reservation did not fit its budget."""

    def __init__(self, budget: str, *, free_in_seconds: float) -> None:
        super().__init__(f"budget {budget} is spent for another {free_in_seconds:.0f} s")
        self.budget = budget
        self.free_in_seconds = free_in_seconds


class SystemFailure(RemediatorError):
    """Another system failed us. `system` and `operation` say which and doing what."""

    def __init__(self, message: str, *, system: str, operation: str) -> None:
        super().__init__(f"{system}: {operation}: {message}")
        self.message = message
        self.system = system
        self.operation = operation


class Temporary(SystemFailure):
    """It may work later."""

    def __init__(self, message: str, *, system: str, operation: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message, system=system, operation=operation)
        self.retry_after_seconds = retry_after_seconds


class Permanent(SystemFailure):
    """It will not work however often it is tried."""

    def __init__(self, message: str, *, system: str, operation: str, status: int | None = None) -> None:
        super().__init__(message, system=system, operation=operation)
        self.status = status


class Ambiguous(SystemFailure):
    """It was sent and the answer never came: it may have happened."""
