"""The rulebook in force, and its replacement. A reload swaps the whole set or changes nothing."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

import structlog

from remediator.domain.errors import BadDocument, RemediatorError
from remediator.language.strict_yaml import Problem, Severity
from remediator.language.suggestion import did_you_mean
from remediator.metrics import Metrics
from remediator.rules.files import state_of
from remediator.rules.loader import Loaded, load_rules
from remediator.rules.rulebook import Rulebook
from remediator.rules.timeouts import misfits
from remediator.store import rule_versions
from remediator.store.database import Connection, Database

log = structlog.get_logger()

MOST_TOLD = 10
"""Steps, in one line of the log: a lease that is too short is too short for all."""

LOOK_EVERY = timedelta(seconds=10)
"""A ConfigMap reaches the pod within about a minute; looking more often than this finds nothing sooner."""

RETRY_EVERY = timedelta(seconds=1)
"""While the database cannot remember a new set: the rules must not lag behind by another look because of it."""
UNSEEN = ""
"""The state of no folder: the next look reads it again."""


NamedChannels = Mapping[str, Sequence[str]]
"""Setting -> the channels that it names."""
NOWHERE: NamedChannels = {}


class Outcome(StrEnum):
    """Of a look at the files."""

    UNCHANGED = "unchanged"
    IN_FORCE = "in force"
    REFUSED = "refused"
    PUT_OFF = "put off"
    """The database cannot remember a new set now."""
    FAILED = "failed"
    """For another reason; the next look tries again."""


class RulesInForce:
    def __init__(
        self,
        folder: Path,
        loaded: Loaded,
        *,
        seen: str,
        channels: NamedChannels = NOWHERE,
        lease: timedelta | None = None,
    ) -> None:
        self._folder = folder
        self._channels = channels
        self._lease = lease
        self._loaded = loaded
        self._seen = seen if loaded.is_whole else UNSEEN
        self._read = seen
        """The state of the files when they were last read, and what was said of them then."""
        self._problems = loaded.problems

    @classmethod
    def load(cls, folder: Path, channels: NamedChannels = NOWHERE, *, lease: timedelta | None = None) -> "RulesInForce":
        """Files with errors are left out and told, and so are steps that do not fit the `lease`; raises `BadDocument`
        where no rule is left, or where one of the `channels` that settings name does not exist."""
        seen = state_of(folder)
        loaded = load_rules(folder)
        _tell(loaded.problems)
        if not loaded.rulebook.rules:
            raise BadDocument(f"{folder}: no usable rule; `remediator check {folder}` says what is wrong")
        if missing := missing_channels(loaded.rulebook, channels):
            raise BadDocument("; ".join(missing))
        _tell_misfits(loaded.rulebook, lease)
        return cls(folder, loaded, seen=seen, channels=channels, lease=lease)

    def rulebook(self) -> Rulebook:
        return self._loaded.rulebook

    def files_with(self, severity: str) -> int:
        """How many have such a problem, as they were last read, also where that replaced nothing."""
        return len({problem.path for problem in self._problems if problem.severity == severity})

    async def keep_current(self, database: Database, metrics: Metrics) -> None:
        """Reloads when the files change, also while a start waited for its database. Until cancelled."""
        while True:
            outcome = await self.look(database, metrics)
            pause = RETRY_EVERY if outcome is Outcome.PUT_OFF else LOOK_EVERY
            await asyncio.sleep(pause.total_seconds())

    async def look(self, database: Database, metrics: Metrics) -> Outcome:
        if not database.health.is_well:
            return Outcome.PUT_OFF
        try:
            if await asyncio.to_thread(state_of, self._folder) == self._seen:
                return Outcome.UNCHANGED
            return await self.reload(database, metrics, is_asked_for=False)
        except OSError as error:  # a ConfigMap was swapped under our hands
            log.warning("rules not read, trying again", error=str(error))
            return Outcome.FAILED

    async def reload(self, database: Database, metrics: Metrics, *, is_asked_for: bool = True) -> Outcome:
        """A set with an error replaces nothing: the old one stays in force until every file is right. What is merely
        tried again, as a link that leads nowhere is, tells nothing twice."""
        seen = await asyncio.to_thread(state_of, self._folder)
        try:
            loaded = await asyncio.to_thread(load_rules, self._folder)
        except BadDocument as error:  # the folder is gone, perhaps for as long as it is swapped
            return self._refuse(seen, metrics, [str(error)])
        except Exception:  # a bug in reading must cost neither alerts nor pages: the set in force is sound
            log.exception("rules not read", folder=str(self._folder))
            return self._refuse(seen, metrics, [])
        is_known = not is_asked_for and (seen, loaded.problems) == (self._read, self._problems)
        self._read, self._problems = seen, loaded.problems
        if is_known and loaded.has_errors:
            return Outcome.UNCHANGED
        _tell(() if is_known else loaded.problems)
        missing = missing_channels(loaded.rulebook, self._channels)
        if loaded.has_errors or missing or not loaded.rulebook.rules:
            return self._refuse(seen if loaded.is_whole else UNSEEN, metrics, missing)
        return await self._put_in_force(loaded, database, metrics, seen=seen)

    async def _put_in_force(self, loaded: Loaded, database: Database, metrics: Metrics, *, seen: str) -> Outcome:
        try:
            await remember(loaded.rulebook, database)
        except Exception as error:  # a bug too; the files stay unseen, so that the next look tries again
            is_bug = not isinstance(error, RemediatorError)
            log.error("rules not reloaded yet, their versions could not be stored", error=str(error), exc_info=is_bug)
            return Outcome.FAILED if is_bug else Outcome.PUT_OFF
        self._seen = seen
        self._loaded = loaded
        metrics.reloads.labels(result="ok").inc()
        _tell_misfits(loaded.rulebook, self._lease)
        log.info("rules reloaded", rules=len(loaded.rulebook.rules))
        return Outcome.IN_FORCE

    def _refuse(self, seen: str, metrics: Metrics, missing: Sequence[str]) -> Outcome:
        self._seen = seen
        metrics.reloads.labels(result="refused").inc()
        log.error("rules not reloaded, the old set stays in force", folder=str(self._folder), missing=missing)
        return Outcome.REFUSED


async def remember(rulebook: Rulebook, database: Database) -> None:
    """Keeps every version, so that an open incident can finish on the one it started with."""
    async with database.transaction() as tx:
        await keep_versions(tx, rulebook)


async def keep_versions(tx: Connection, rulebook: Rulebook) -> None:
    """Again and again: one that is in force may be missing after a restore, or a failover to a standby that lagged."""
    # First: one that was in force long ago may be about to be forgotten.
    await rule_versions.still_in_force(tx, [rule.version for rule in rulebook.rules])
    await rule_versions.save(tx, [(rule.version, rule.name, rule.document) for rule in rulebook.rules])


def missing_channels(rulebook: Rulebook, named: NamedChannels) -> list[str]:
    """What is wrong with the settings, in words."""
    known = rulebook.roster.channels
    return [
        f"{setting}: there is no channel {name!r} in oncall/channels.yaml; "
        + (did_you_mean(name, known) or f"known: {', '.join(sorted(known)) or 'none'}")
        for setting, names in named.items()
        for name in names
        if name not in known
    ]


def _tell(problems: Sequence[Problem]) -> None:
    for problem in problems:
        tell = log.error if problem.severity is Severity.ERROR else log.warning
        tell("rule problem", where=f"{problem.path}:{problem.line}:{problem.column}", message=problem.message)


def _tell_misfits(rulebook: Rulebook, lease: timedelta | None) -> None:
    found = list(map(str, misfits(rulebook, lease))) if lease is not None else []
    if found:
        log.error("timeouts do not fit the lease", steps=found[:MOST_TOLD], count=len(found))
