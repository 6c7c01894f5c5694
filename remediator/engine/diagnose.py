"""opened -> diagnosed: all looks at once, each with its own time-out. A look that failed is a fact too."""

import asyncio
import dataclasses
import time
from collections.abc import Mapping

import structlog
from msgspec.structs import replace

from remediator.diagnostics import Diagnostic
from remediator.domain.errors import RemediatorError
from remediator.domain.finding import Finding
from remediator.domain.incident import Incident, Move, Phase
from remediator.domain.timeline import Entry, EntryKind
from remediator.engine.desk import Desk
from remediator.rules.rule import Step
from remediator.rules.values import values_of
from remediator.toolbox import Toolbox

log = structlog.get_logger()


async def stage(incident: Incident, desk: Desk) -> Move:
    rule = await desk.read_rule(incident)
    values = values_of(incident, now=desk.clock())
    async with asyncio.TaskGroup() as group:
        looks = {
            name: group.create_task(_look(step, incident, values, tools=desk.tools))
            for name, step in rule.diagnose.items()
        }
    findings = {name: look.result() for name, look in looks.items()}
    return Move(
        Phase.DIAGNOSED,
        replace(incident.progress, findings=findings, diagnosed_at=desk.clock()),
        entries=tuple(_entry(name, finding) for name, finding in findings.items()),
    )


async def _look(step: Step[Diagnostic], incident: Incident, values: Mapping[str, object], *, tools: Toolbox) -> Finding:
    started = time.monotonic()
    try:
        diagnostic = step.build(values)
        async with asyncio.timeout(diagnostic.timeout.total_seconds()):
            look = await diagnostic.examine(incident, tools)
    except TimeoutError:
        return _failed("timed out", started)
    except RemediatorError as error:
        return _failed(str(error), started)
    except Exception as error:  # a bug in one look must cost one finding, not the incident
        log.exception("diagnostic failed", step=step.path, incident=incident.id)
        return _failed(f"{type(error).__name__}: {error}", started)
    # Each diagnostic has a data class of its own, and their common type says no more than `object`.
    facts = {f.name: getattr(look.facts, f.name) for f in dataclasses.fields(look.facts)}  # type: ignore[arg-type]
    return Finding(ok=True, summary=look.summary, facts=facts, seconds=time.monotonic() - started)


def _failed(error: str, started: float) -> Finding:
    return Finding(ok=False, summary=f"failed: {error}", error=error, seconds=time.monotonic() - started)


def _entry(name: str, finding: Finding) -> Entry:
    return Entry(EntryKind.FINDING, finding.summary, f"diagnose.{name}", {"ok": finding.ok, "seconds": finding.seconds})
