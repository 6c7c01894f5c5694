"""All that a reader may send: looks, and dry runs that are ones to the API server too."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from remediator.clients.kubernetes.transport import Transport
from remediator.domain.errors import NotAllowed
from remediator.domain.plan import Call

FIELD_MANAGER = "remediator"


@dataclass(frozen=True, slots=True)
class ReadOnly:
    _transport: Transport

    async def look(self, path: str, query: Mapping[str, str] | None = None) -> bytes:
        return await self._transport.look(path, query)

    async def rehearse(self, dry: Call) -> bytes:
        """Sends what `dry_run_of` has made. Raises `NotAllowed`, and sends nothing, for anything else."""
        if not is_dry_run(dry):
            raise NotAllowed(f"not sent: {dry} would not be a dry run")
        return await self._transport.send(
            dry.method, dry.resource, dry.query, body=dry.payload, content_type=dry.content_type
        )


def dry_run_of(call: Call) -> Call:
    """The same call, with `dryRun` wherever its method has it read."""
    query = {**call.query, "dryRun": "All", "fieldManager": FIELD_MANAGER}
    if call.method == "DELETE" and isinstance(call.body, Mapping):
        return replace(call, query=query, body={**call.body, "dryRun": ["All"]})
    return replace(call, query=query)


def is_dry_run(call: Call) -> bool:
    """Whether the API server takes it for one, whoever made it.

    Of a DELETE with a body, also with an empty one, it reads the body and not the query: `?dryRun=All` beside a
    precondition deletes. Of everything else it reads the query, and no body. (tests/contract/test_dry_run.py)
    """
    if "?" in call.resource or "#" in call.resource:  # our query would be a part of theirs, or of what is not sent
        return False
    match call.method:
        case "DELETE" if call.body is not None:
            return isinstance(call.body, Mapping) and call.body.get("dryRun") == ["All"]
        case "POST" | "PUT" | "PATCH" | "DELETE":
            return call.query.get("dryRun") == "All"
        case _:
            return False
