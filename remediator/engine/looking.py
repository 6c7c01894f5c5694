"""A round of looking for what is amiss and nobody tells of. Whatever becomes of it, the next one is begun."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from remediator.domain.errors import Overloaded, Temporary
from remediator.store.health import Health

log = structlog.get_logger()


@asynccontextmanager
async def looking_for(what: str, health: Health) -> AsyncIterator[None]:
    """Sits it out where the database is not well."""
    try:
        yield
    except Temporary as error:
        await health.sit_out(f"look for {what}", error)
    except Overloaded as error:
        log.info("to be looked for again", reason=str(error))
    except Exception as error:  # a bug: alerts, pages and fixes must go on
        in_vain = f"{what} not found"
        log.exception(in_vain, error=str(error))
