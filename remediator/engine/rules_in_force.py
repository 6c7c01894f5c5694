"""The rulebook in force, and its replacement. A reload swaps the whole set or changes nothing."""

import asyncio
from datetime import timedelta
from pathlib import Path

import structlog

from remediator.domain.errors import BadDocument, RemediatorError
from remediator.language.strict_yaml import Problem, Severity
from remediator.metrics import Metrics
from remediator.rules.files import state_of
from remediator.rules.loader import Loaded, load_rules
from remediator.rules.rulebook import Rulebook
from remediator.store import rule_versions
from remediator.store.database import Database

log = structlog.get_logger()

LOOK_EVERY = timedelta(seconds=10)
"""A ConfigMap reaches the pod within about a minute; looking more often than this finds nothing sooner."""


class RulesInForce:
    def __init__(self, folder: Path, loaded: Loaded, *, seen: str) -> None:
        self._folder = folder
        self._loaded = loaded
        self._seen = seen

    @classmethod
    def load(cls, folder: Path) -> "RulesInForce":
        """Files with errors are left out and told; raises `BadDocument` where no rule is left."""
        seen = state_of(folder)
        loaded = load_rules(folder)
        _tell(loaded.problems)
        if not loaded.rulebook.rules:
            raise BadDocument(f"{folder}: no usable rule; `remediator check {folder}` says what is wrong")
        return cls(folder, loaded, seen=seen)

    def rulebook(self) -> Rulebook:
        return self._loaded.rulebook

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(self._loaded.problems)

    async def keep_current(self, database: Database, metrics: Metrics) -> None:
        """Reloads when the files change. Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY.total_seconds())
            if await asyncio.to_thread(state_of, self._folder) != self._seen:
                await self.reload(database, metrics)

    async def reload(self, database: Database, metrics: Metrics) -> None:
        """A set with an error replaces nothing: the old one stays in force until every file is right."""
        seen = await asyncio.to_thread(state_of, self._folder)
        loaded = await asyncio.to_thread(load_rules, self._folder)
        self._seen = seen
        _tell(loaded.problems)
        if any(problem.severity is Severity.ERROR for problem in loaded.problems) or not loaded.rulebook.rules:
            metrics.reloads.labels(result="refused").inc()
            log.error("rules not reloaded, the old set stays in force", folder=str(self._folder))
            return
        try:
            await remember(loaded.rulebook, database)
        except RemediatorError as error:
            log.error("rules not reloaded, their versions could not be stored", error=str(error))
            return
        self._loaded = loaded
        metrics.reloads.labels(result="ok").inc()
        log.info("rules reloaded", rules=len(loaded.rulebook.rules))


async def remember(rulebook: Rulebook, database: Database) -> None:
    """Keeps every version, so that an open incident can finish on the one it started with."""
    async with database.transaction() as tx:
        await rule_versions.save(tx, [(rule.version, rule.name, rule.document) for rule in rulebook.rules])


def _tell(problems: tuple[Problem, ...] | list[Problem]) -> None:
    for problem in problems:
        tell = log.error if problem.severity is Severity.ERROR else log.warning
        tell("rule problem", where=f"{problem.path}:{problem.line}:{problem.column}", message=problem.message)
